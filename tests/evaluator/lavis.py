"""Checkpoints in the layout of LAVIS, made of the networks that transformers has of the same models.

The names are those that LAVIS' own modules have (lavis/models/blip_models, blip2_models, eva_vit.py); transformers' networks
are an implementation that shares no code with ours.
"""

import math
import re

import torch

VISION = [
    (r"^vision_model\.embeddings\.class_embedding$", "visual_encoder.cls_token"),
    (r"^vision_model\.embeddings\.position_embedding$", "visual_encoder.pos_embed"),
    (r"^vision_model\.embeddings\.patch_embedding\.", "visual_encoder.patch_embed.proj."),
    (r"^vision_model\.encoder\.layers\.", "visual_encoder.blocks."),
    (r"\.self_attn\.projection\.", ".attn.proj."),
    (r"\.self_attn\.", ".attn."),
    (r"\.layer_norm(\d)\.", r".norm\1."),
]
BLIP = [*VISION, (r"^vision_model\.post_layernorm\.", "visual_encoder.norm.")]
BLIP2 = [
    *VISION,
    (r"^vision_model\.post_layernorm\.", "ln_vision."),
    (r"^embeddings\.", "Qformer.bert.embeddings."),
    (r"^qformer\.layernorm\.", "Qformer.bert.embeddings.LayerNorm."),
    (r"^qformer\.", "Qformer.bert."),
    (r"attention\.attention\.", "attention.self."),
    (r"^(vision|text)_projection\.", r"\1_proj."),
]


def renamed(state, rules):
    """Return a state dict with every rule applied to every name, in order."""
    found = {}
    for name, tensor in state.items():
        for pattern, replacement in rules:
            name = re.sub(pattern, replacement, name)
        assert name not in found
        found[name] = tensor
    return found


def blip_reference(layers):
    from transformers import BlipConfig, BlipForImageTextRetrieval

    config = BlipConfig(
        text_config={
            "vocab_size": 30524,
            "num_hidden_layers": layers,
            "num_attention_heads": 12,
            "encoder_hidden_size": 768,
            "bos_token_id": 30522,
            "sep_token_id": 102,
        },
        vision_config={"image_size": 224, "num_hidden_layers": layers, "layer_norm_eps": 1e-6},
        image_text_hidden_size=256,
        attn_implementation="eager",
    )
    return BlipForImageTextRetrieval(config).eval().requires_grad_(False)


def blip2_reference(depth, layers):
    from transformers import Blip2Config, Blip2ForImageTextRetrieval

    config = Blip2Config(
        vision_config={"num_hidden_layers": depth},
        qformer_config={"num_hidden_layers": layers, "vocab_size": 30523, "use_qformer_text_input": True},
        image_text_hidden_size=256,
        attn_implementation="eager",
    )
    network = Blip2ForImageTextRetrieval(config).eval().requires_grad_(False)
    network.vision_model.post_layernorm.eps = (
        1e-5  # LAVIS' LayerNorm has torch's own, transformers' port has not
    )
    return network


def fill_at_random(network, seed=0):
    """Give every tensor numbers of its own, of a size that keeps every part of the network alive."""
    generator = torch.Generator().manual_seed(seed)
    for name, tensor in network.state_dict().items():
        if not tensor.is_floating_point():
            continue
        tensor.normal_(generator=generator)
        if tensor.ndim < 2:
            tensor.mul_(0.1)
            if re.search(r"norm\d?\.weight$|LayerNorm\.weight$", name):
                tensor.add_(1)
        elif not re.search(r"embeddings|query_tokens", name):
            tensor.mul_(1 / math.sqrt(tensor[0].numel()))


def hollow(state):
    """Return a state dict of the same names and shapes that takes no room: one number for all of each tensor's."""
    return {name: torch.zeros(()).expand(tensor.shape) for name, tensor in state.items()}


def _ones(tensor):
    return torch.ones((), dtype=tensor.dtype, device=tensor.device).expand(tensor.shape)


def blip_checkpoint(published, *, temp=0.05, queue=64):
    """Return a pre-training checkpoint: the model, its momentum copy with queues, a caption decoder, a matching head.

    Parameters
    ----------
    published
        Tensors in the names of transformers' network.
    """
    state = {
        name: tensor for name, tensor in renamed(published, BLIP).items() if not name.endswith("position_ids")
    }
    towers = ("visual_encoder", "text_encoder", "vision_proj", "text_proj")
    momentum = {
        re.sub(r"^([a-z_]+)\.", r"\1_m.", name): _ones(tensor)
        for name, tensor in state.items()
        if name.startswith(towers)
    }
    decoder = {
        re.sub("^text_encoder", "text_decoder.bert", name): _ones(tensor)
        for name, tensor in state.items()
        if name.startswith("text_encoder") and not re.search("word_embeddings", name)
    }
    extra = {
        "text_encoder.embeddings.position_ids": torch.arange(512)[None],
        "text_encoder_m.embeddings.position_ids": torch.arange(512)[None],
        "text_decoder.cls.predictions.bias": torch.zeros(30524),
        "text_decoder.cls.predictions.transform.dense.weight": torch.ones(768, 768),
        "image_queue": torch.ones(256, queue),
        "text_queue": torch.ones(256, queue),
        "queue_ptr": torch.zeros(1, dtype=torch.long),
    }
    return {"model": {**state, **momentum, **decoder, **extra, "temp": torch.tensor(temp)}, "epoch": 19}


def blip2_checkpoints(published, depth, *, temp=0.04):
    """Return the two files of BLIP-2: the Q-Former's, and the image tower's with one block more than is used."""
    qformer, tower = {}, {}
    for name, tensor in renamed(published, BLIP2).items():
        if name.startswith("visual_encoder."):
            tower[name.removeprefix("visual_encoder.")] = tensor
        elif not name.endswith("position_ids"):
            qformer[name] = tensor
    for block in range(depth):
        bias = tower.pop(f"blocks.{block}.attn.qkv.bias")
        query, key, value = bias.chunk(3)
        assert key.is_meta or not key.any(), "keys have no bias in this model"
        tower[f"blocks.{block}.attn.q_bias"], tower[f"blocks.{block}.attn.v_bias"] = query, value
    for name in [name for name in tower if name.startswith("blocks.0.")]:
        tower[name.replace(".0.", f".{depth}.", 1)] = _ones(tower[name])
    for name in ("norm.weight", "norm.bias"):
        tower[name] = torch.ones(1408)
    qformer["Qformer.bert.embeddings.position_ids"] = torch.arange(512)[None]
    qformer["Qformer.cls.predictions.bias"] = torch.zeros(30523)
    qformer["Qformer.cls.predictions.transform.dense.weight"] = torch.ones(768, 768)
    qformer["temp"] = torch.tensor(temp)
    return {"model": qformer, "optimizer": {"step": 3}}, {
        name: tensor.half() for name, tensor in tower.items()
    }


def without_key_bias(network):
    """Take the bias of the keys out of a transformers network, and round its image tower to 16 bits, as published."""
    for layer in network.vision_model.encoder.layers:
        layer.self_attn.qkv.bias[1408:2816] = 0
    for name, tensor in network.vision_model.state_dict().items():
        if not name.startswith("post_layernorm"):
            tensor.copy_(tensor.half())
