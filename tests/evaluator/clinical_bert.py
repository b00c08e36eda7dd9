"""Bio_ClinicalBERT for tests: a checkpoint in the layout of its time, and its layers computed from the formulas of BERT."""

import math

import torch
import torch.nn.functional as F
from torch.utils.flop_counter import FlopCounterMode
from transformers import BertTokenizerFast

WIDTH, LAYERS, HEADS, INNER, WORDS, PLACES = 768, 12, 12, 3072, 28996, 512
VOCABULARY = [
    "[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "no", "mild", "severe", "pneumonia", "edema", "of", "the", "right", "left",
    "lung", "cardio", "##megal", "##y", "at", "##elect", "##asis", ".", ",", "small", "base", "1", "2",
]  # fmt: skip


def random_tensors(shapes, seed):
    """Tensors of these shapes, different in every entry: scales of norms near one, everything else small."""
    drawn = torch.Generator().manual_seed(seed)
    made = {}
    for name, shape in shapes.items():
        tensor = torch.empty(shape).normal_(0, 0.05, generator=drawn)
        norm = any(part in name.lower() for part in ("norm", "bn", "downsample.1"))
        made[name] = tensor + 1 if norm and name.endswith("weight") else tensor
        if name.endswith("running_var"):
            made[name] = tensor.abs() + 0.8
        if name.endswith("num_batches_tracked"):
            made[name] = torch.tensor(7)
    return made


def bert_shapes():
    """Names and shapes of Bio_ClinicalBERT's tensors, with the two kinds that no feature passes through."""
    shapes = {
        "embeddings.word_embeddings.weight": (WORDS, WIDTH),
        "embeddings.position_embeddings.weight": (PLACES, WIDTH),
        "embeddings.token_type_embeddings.weight": (2, WIDTH),
        "embeddings.LayerNorm.weight": (WIDTH,),
        "embeddings.LayerNorm.bias": (WIDTH,),
        "pooler.dense.weight": (WIDTH, WIDTH),
        "pooler.dense.bias": (WIDTH,),
    }
    for layer in range(LAYERS):
        parts = {
            "attention.self.query": (WIDTH, WIDTH),
            "attention.self.key": (WIDTH, WIDTH),
            "attention.self.value": (WIDTH, WIDTH),
            "attention.output.dense": (WIDTH, WIDTH),
            "attention.output.LayerNorm": (WIDTH,),
            "intermediate.dense": (INNER, WIDTH),
            "output.dense": (WIDTH, INNER),
            "output.LayerNorm": (WIDTH,),
        }
        for part, shape in parts.items():
            shapes[f"encoder.layer.{layer}.{part}.weight"] = shape
            shapes[f"encoder.layer.{layer}.{part}.bias"] = shape[:1]
    return shapes


def bert_state(prefix, seed):
    """Random text tower with the prefix of a publisher's checkpoint."""
    made = random_tensors(bert_shapes(), seed)
    made["embeddings.position_ids"] = torch.arange(PLACES)[None]
    return {prefix + name: tensor for name, tensor in made.items()}


def bert_layers(state, prefix, ids, mask):
    """Outputs of the embedding and of every layer, ``[B, length, 768]`` each."""

    def of(name, x, *, norm=False):
        weight, bias = state[f"{prefix}{name}.weight"], state[f"{prefix}{name}.bias"]
        return F.layer_norm(x, (WIDTH,), weight, bias, 1e-12) if norm else x @ weight.T + bias

    def heads(x):
        return x.reshape(*x.shape[:2], HEADS, WIDTH // HEADS).transpose(1, 2)

    words = state[f"{prefix}embeddings.word_embeddings.weight"][ids]
    places = state[f"{prefix}embeddings.position_embeddings.weight"][: ids.shape[1]]
    kinds = state[f"{prefix}embeddings.token_type_embeddings.weight"][0]
    x = of("embeddings.LayerNorm", words + places + kinds, norm=True)
    outputs = [x]
    for number in range(LAYERS):
        layer = f"encoder.layer.{number}."
        query, key, value = (
            heads(of(f"{layer}attention.self.{part}", x)) for part in ("query", "key", "value")
        )
        scores = query @ key.transpose(2, 3) / math.sqrt(WIDTH // HEADS)
        scores = scores.masked_fill(mask[:, None, None] == 0, -math.inf)
        mixed = (scores.softmax(-1) @ value).transpose(1, 2).reshape(x.shape)
        x = of(
            f"{layer}attention.output.LayerNorm", x + of(f"{layer}attention.output.dense", mixed), norm=True
        )
        inner = of(f"{layer}intermediate.dense", x)
        inner = inner * 0.5 * (1 + torch.erf(inner / math.sqrt(2)))
        x = of(f"{layer}output.LayerNorm", x + of(f"{layer}output.dense", inner), norm=True)
        outputs.append(x)
    return outputs


def write_vocabulary(folder):
    path = folder / "vocab.txt"
    path.write_text("\n".join(VOCABULARY) + "\n")
    return path


def tokens_alone(folder, text, length=None):
    """Ids and mask ``[1, length]`` of one text by transformers' own tokenizer; not padded where no length is given."""
    tokenizer = BertTokenizerFast(vocab=str(folder / "vocab.txt"), do_lower_case=True)
    padding = {} if length is None else {"padding": "max_length", "max_length": length}
    made = tokenizer([text], return_tensors="pt", **padding)
    return made["input_ids"], made["attention_mask"]


def without_storage(state):
    """The same names and shapes, a file of which is small: for checkpoints that are refused before they are read."""
    return {name: torch.zeros(()).expand(tensor.shape) for name, tensor in state.items()}


def gflops(network, size):
    """Cost of one image, counted on the meta device."""
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        output = network.eval()(torch.empty(1, 3, size, size, device="meta"))
    return tuple(output.shape), counter.get_total_flops() / 1e9
