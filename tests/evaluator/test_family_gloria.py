"""GLoRIA by a checkpoint in its authors' Lightning layout: against timm's ResNet, BERT's formulas and the published merging."""

import re
import socket
import sys
import typing
from collections import defaultdict
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import pytest
import timm
import torch
from clinical_bert import (
    VOCABULARY,
    bert_layers,
    bert_shapes,
    bert_state,
    gflops,
    random_tensors,
    tokens_alone,
    without_storage,
    write_vocabulary,
)

from evaluator.models.families.gloria import build
from evaluator.models.loading import load_model
from evaluator.models.registry import default_registry
from evaluator.models.weights import LocatedWeights, MissingWeights, locate
from shards.errors import UserError

REGISTRY = default_registry(plugins=[])
CARD = REGISTRY.card("gloria-rn50")
TEXTS = ["mild pneumonia.", "1. Severe cardiomegaly, atelectasis of the left lung base.", "edema"]
#: What the publisher's preparation makes of them; it would drop the last, a sentence of one word.
PREPARED = ["mild pneumonia", "severe cardiomegaly atelectasis of the left lung base", "edema"]
IMAGE, TEXT = "gloria.img_encoder.", "gloria.text_encoder.model."


class Foreign:
    """What a checkpoint holds beside tensors: an object with a state whose class the reader must never build."""

    def __init__(self, content):
        self.content = content

    def __getstate__(self):
        return {"_content": self.content, "_flags": defaultdict(dict)}

    def __setstate__(self, state):
        raise AssertionError("the class of the file was built")


def hyper_parameters(patch):
    """A configuration as OmegaConf has it and a callback as Lightning names it, of modules that are gone when it is read."""
    classes = {}
    for address in (
        "omegaconf.dictconfig.DictConfig",
        "omegaconf.base.ContainerMetadata",
        "omegaconf.nodes.AnyNode",
        "pytorch_lightning.callbacks.model_checkpoint.ModelCheckpoint",
    ):
        module, _, name = address.rpartition(".")
        made = type(name, (Foreign,), {"__module__": module})
        patch.setitem(sys.modules, module, ModuleType(module))
        for parent in (module.partition(".")[0], module.rpartition(".")[0]):
            patch.setitem(sys.modules, parent, sys.modules.get(parent) or ModuleType(parent))
        setattr(sys.modules[module], name, made)
        classes[name] = made
    node = classes["AnyNode"]({"value": "resnet_50", "type": typing.Any})
    settings = classes["DictConfig"](
        {"model": node, "about": classes["ContainerMetadata"]({"object_type": dict})}
    )
    return settings, classes["ModelCheckpoint"]


def tensors(*, memory=True):
    """Names and tensors of the published checkpoint; without memory behind them where only names and shapes count."""
    tower = timm.create_model("resnet50", num_classes=0)
    shapes = {f"{IMAGE}model.{key}": tensor.shape for key, tensor in tower.state_dict().items()}
    shapes |= {
        f"{IMAGE}global_embedder.weight": (768, 2048),
        f"{IMAGE}global_embedder.bias": (768,),
        f"{IMAGE}local_embedder.weight": (768, 1024, 1, 1),
    }
    if not memory:
        shapes |= {TEXT + key: shape for key, shape in bert_shapes().items()}
        return without_storage({key: torch.empty(shape, device="meta") for key, shape in shapes.items()})
    return random_tensors(shapes, 1) | bert_state(TEXT, 2)


def save(state, path):
    """Save as Lightning does, with objects of classes that are not importable any more afterwards."""
    with pytest.MonkeyPatch.context() as patch:
        settings, callback = hyper_parameters(patch)
        torch.save(
            {
                "epoch": 12,
                "global_step": 4000,
                "pytorch-lightning_version": "1.1.4",
                "callbacks": {callback: {"best_model_score": torch.tensor(1.0)}},
                "optimizer_states": [{"state": {}, "param_groups": [{"lr": 5e-5, "params": [0]}]}],
                "state_dict": state,
                "hparams_name": "cfg",
                "hyper_parameters": settings,
            },
            path,
        )


class Setting(NamedTuple):
    model: Any
    state: dict
    folder: Path
    texts: torch.Tensor


@pytest.fixture(scope="module")
def setting(tmp_path_factory):
    folder = tmp_path_factory.mktemp("gloria")
    state = tensors()
    path = folder / CARD.weights.file
    save(state, path)
    write_vocabulary(folder)
    located = locate(CARD, [folder])
    assert located.path == path
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", refuse)
        model = load_model(CARD, located)
        texts = model.encode_text(TEXTS)  # once: it is the slow part
    path.unlink()  # half a gigabyte
    return Setting(model, state, folder, texts)


def refuse(*_):
    raise AssertionError("a connection was tried")


def pixels_for(count, seed=0):
    drawn = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, 3, 224, 224), dtype=torch.uint8, generator=drawn)


def enlarged(pixels):
    """Enlarge to 299 with the corners in place, from the formula."""
    place = torch.arange(299, dtype=torch.float64) * (223 / 298)
    weight = (1 - (place[:, None] - torch.arange(224)).abs()).clamp(min=0)
    return (weight @ pixels.double() @ weight.T).float()


def test_image_features_and_embedding_equal_those_of_another_library_at_299_pixels(setting):
    tower = timm.create_model("resnet50", num_classes=0)
    prefix = f"{IMAGE}model."
    tower.load_state_dict(
        {key.removeprefix(prefix): value for key, value in setting.state.items() if key.startswith(prefix)}
    )
    pixels = pixels_for(2)
    with torch.inference_mode():
        expected = tower.eval()(enlarged(pixels.float() / 127.5 - 1))
    weight, bias = (setting.state[f"{IMAGE}global_embedder.{part}"] for part in ("weight", "bias"))
    features, projected = setting.model.encode(pixels)
    torch.testing.assert_close(features, expected, rtol=1e-4, atol=1e-4 * float(expected.abs().max()))
    wanted = expected @ weight.T + bias
    torch.testing.assert_close(projected, wanted, rtol=1e-4, atol=1e-4 * float(wanted.abs().max()))
    assert (features.shape, projected.shape) == ((2, 2048), (2, 768))


def merged(states, ids):
    """Merge word pieces to words until the end mark, as published: sums of pieces, then zeros for the places left."""
    words = []
    for state, number in zip(states, ids, strict=True):
        piece = VOCABULARY[number]
        if piece.startswith("##"):
            words[-1] = words[-1] + state
        else:
            words.append(state)
        if piece == "[SEP]":
            break
    return torch.stack(words + [torch.zeros(768)] * (97 - len(words)))


@pytest.mark.parametrize("row", range(len(TEXTS)))
def test_texts_equal_the_published_merging_of_word_pieces(setting, row):
    ids, mask = tokens_alone(setting.folder, PREPARED[row], 97)
    layers = bert_layers(setting.state, TEXT, ids, mask)[-4:]
    by_layer = torch.stack([merged(layer[0], ids[0].tolist()) for layer in layers])
    expected = by_layer.mean(dim=1).sum(dim=0)
    torch.testing.assert_close(
        setting.texts[row], expected, rtol=1e-4, atol=1e-4 * float(expected.abs().max())
    )


def test_a_text_of_one_word_is_not_an_empty_text(setting):
    assert not torch.allclose(setting.texts[2], setting.texts[0])
    with pytest.raises(UserError, match=r"text '1\. \?' has no word"):
        setting.model.encode_text(["edema", "1. ?"])


def test_a_text_has_the_same_embedding_whatever_is_asked_with_it(setting):
    assert torch.equal(setting.texts[2], setting.model.encode_text(["Edema!"])[0])


def test_an_images_score_is_independent_of_the_other_images(setting):
    # The published zero-shot standardises over the images of the call.
    def scores(pixels):
        projected = torch.nn.functional.normalize(setting.model.encode(pixels).projected, dim=1)
        similarity = setting.model.similarity
        return (
            similarity.scale * projected @ torch.nn.functional.normalize(setting.texts, dim=1).T
            + similarity.bias
        )

    first = pixels_for(1)
    alone = scores(first)
    for seed in (1, 2):
        with_others = scores(torch.cat([first, pixels_for(2, seed)]))
        torch.testing.assert_close(with_others[:1], alone, rtol=1e-4, atol=1e-4)
    assert alone.shape == (1, len(TEXTS))
    assert setting.model.similarity.scale == 10.0


def test_one_image_keeps_its_batch_axis(setting):
    features, projected = setting.model.encode(pixels_for(1))
    assert (features.shape, projected.shape) == ((1, 2048), (1, 768))


def test_everything_runs_on_the_cpu_without_the_package_and_builds_nothing_of_the_file(setting):
    # The setting was made with connections refused, from a file whose classes would raise when built.
    assert setting.texts.device.type == "cpu"
    assert not any(
        name.partition(".")[0] in ("gloria", "omegaconf", "pytorch_lightning", "cv2") for name in sys.modules
    )
    assert not any(module.training for module in setting.model.network.modules())
    assert not any(parameter.requires_grad for parameter in setting.model.network.parameters())


@pytest.mark.parametrize(
    ("lost", "message"),
    [
        (r"global_embedder\.bias", r"1 missing: projection\.bias"),
        (r"model\.layer4\.2\.", r"18 missing: image\.1\.layer4\.2"),
        (r"encoder\.layer\.11\.", r"16 missing: text\.encoder\.layer\.11"),
        (r"text_encoder", r"197 missing: text\.embeddings\.word_embeddings"),
    ],
)
def test_half_loaded_checkpoints_are_refused(tmp_path, lost, message):
    path = tmp_path / CARD.weights.file
    save({key: tensor for key, tensor in tensors(memory=False).items() if not re.search(lost, key)}, path)
    with pytest.raises(UserError, match=message):
        load_model(CARD, LocatedWeights(path, "x"))


def test_tensors_of_another_network_are_refused(tmp_path):
    path = tmp_path / CARD.weights.file
    save(tensors(memory=False) | {"gloria.img_encoder.extra.weight": torch.ones(1)}, path)
    with pytest.raises(UserError, match=r"1 unexpected: gloria\.img_encoder\.extra\.weight"):
        load_model(CARD, LocatedWeights(path, "x"))


def test_texts_without_a_tokenizer_name_the_file_and_too_long_ones_are_refused(setting):
    bare = type(setting.model)(
        CARD, setting.model.network, LocatedWeights(None, "x"), setting.model.device, "fp32"
    )
    with pytest.raises(MissingWeights, match=r"'vocab\.txt'.*emilyalsentzer/Bio_ClinicalBERT"):
        bare.encode_text(["edema"])
    with pytest.raises(UserError, match="reads at most 97"):
        setting.model.encode_text(["mild " * 96])


def test_missing_weights_are_named_with_their_page(tmp_path):
    with pytest.raises(
        MissingWeights, match=r"chexpert_resnet50\.ckpt.*stanfordmedicine\.box\.com.*Apache-2\.0"
    ):
        locate(CARD, [tmp_path])


def test_card_tells_lengths_and_cost_of_the_network():
    with torch.device("meta"):
        network = build(CARD)
    shape, cost = gflops(network["image"], CARD.preprocessing.size)
    assert shape == (1, CARD.dimension)
    assert cost == pytest.approx(CARD.gflops, rel=0.01)
    assert tuple(network["projection"].weight.shape) == (CARD.projected, CARD.dimension)
    assert REGISTRY.card("GLoRIA") == CARD
    assert any("images of the call" in note for note in CARD.notes)
