"""Checkpoints as their publishers lay them out: the names and shapes of every tensor, written down without transformers.

`tensors` draws them from a fixed seed, each other than the next, so that equal features prove that every tensor went to its
place. Norms are drawn around one, as trained ones are.
"""

import torch


def clip(vision, text, projection, *, patch, side, vocabulary, context):
    """vinid/plip: CLIPModel. `vision` and `text` are (width, hidden, depth)."""
    shapes = {"logit_scale": ()}
    shapes |= _text("text_model.", text, vocabulary, context)
    shapes |= {"text_projection.weight": (projection, text[0])}
    width = vision[0]
    shapes |= {
        "vision_model.embeddings.class_embedding": (width,),
        "vision_model.embeddings.patch_embedding.weight": (width, 3, patch, patch),
        "vision_model.embeddings.position_embedding.weight": ((side // patch) ** 2 + 1, width),
        **_norm("vision_model.pre_layrnorm", width),
        **_blocks("vision_model.encoder.layers", *vision),
        **_norm("vision_model.post_layernorm", width),
        "visual_projection.weight": (projection, width),
    }
    return shapes


def siglip(blocks, *, patch, side, vocabulary, context=64):
    """google/siglip-*: SiglipModel."""
    width = blocks[0]
    return {
        "logit_scale": (1,),
        "logit_bias": (1,),
        **_text("text_model.", blocks, vocabulary, context),
        **_linear("text_model.head", width, width),
        **siglip_tower(blocks, patch=patch, side=side, prefix="vision_model."),
        **siglip_head(blocks, "vision_model.head."),
    }


def siglip_tower(blocks, *, patch, side, prefix):
    """SigLIP's vision tower up to its last norm; inside google/medgemma-4b-pt under 'vision_tower.vision_model.'."""
    width = blocks[0]
    return {
        f"{prefix}embeddings.patch_embedding.weight": (width, 3, patch, patch),
        f"{prefix}embeddings.patch_embedding.bias": (width,),
        f"{prefix}embeddings.position_embedding.weight": ((side // patch) ** 2, width),
        **_blocks(f"{prefix}encoder.layers", *blocks),
        **_norm(f"{prefix}post_layernorm", width),
    }


def siglip_head(blocks, prefix):
    """Attention pooling with one learned question."""
    width, hidden, _ = blocks
    return {
        f"{prefix}probe": (1, 1, width),
        f"{prefix}attention.in_proj_weight": (3 * width, width),
        f"{prefix}attention.in_proj_bias": (3 * width,),
        **_linear(f"{prefix}attention.out_proj", width, width),
        **_norm(f"{prefix}layernorm", width),
        **_linear(f"{prefix}mlp.fc1", hidden, width),
        **_linear(f"{prefix}mlp.fc2", width, hidden),
    }


def dinov2(blocks, *, patch, side, registers=0):
    """microsoft/rad-dino: Dinov2Model, as transformers 4 wrote it."""
    width, hidden, depth = blocks
    shapes = {
        "embeddings.cls_token": (1, 1, width),
        "embeddings.mask_token": (1, width),
        "embeddings.position_embeddings": (1, (side // patch) ** 2 + 1, width),
        "embeddings.patch_embeddings.projection.weight": (width, 3, patch, patch),
        "embeddings.patch_embeddings.projection.bias": (width,),
        **_norm("layernorm", width),
    }
    if registers:
        shapes["embeddings.register_tokens"] = (1, registers, width)
    for layer in range(depth):
        own = f"encoder.layer.{layer}."
        for letter in ("query", "key", "value"):
            shapes |= _linear(f"{own}attention.attention.{letter}", width, width)
        shapes |= {
            **_linear(f"{own}attention.output.dense", width, width),
            **_norm(f"{own}norm1", width),
            **_norm(f"{own}norm2", width),
            f"{own}layer_scale1.lambda1": (width,),
            f"{own}layer_scale2.lambda1": (width,),
            **_linear(f"{own}mlp.fc1", hidden, width),
            **_linear(f"{own}mlp.fc2", width, hidden),
        }
    return shapes


def vit(blocks, *, patch, side, classes=0):
    """google/vit-*: ViTModel with its pooler, or with a classifier instead."""
    width, hidden, depth = blocks
    shapes = {
        "embeddings.cls_token": (1, 1, width),
        "embeddings.position_embeddings": (1, (side // patch) ** 2 + 1, width),
        "embeddings.patch_embeddings.projection.weight": (width, 3, patch, patch),
        "embeddings.patch_embeddings.projection.bias": (width,),
        **_norm("layernorm", width),
    }
    for layer in range(depth):
        own = f"encoder.layer.{layer}."
        for letter in ("query", "key", "value"):
            shapes |= _linear(f"{own}attention.attention.{letter}", width, width)
        shapes |= {
            **_linear(f"{own}attention.output.dense", width, width),
            **_norm(f"{own}layernorm_before", width),
            **_norm(f"{own}layernorm_after", width),
            **_linear(f"{own}intermediate.dense", hidden, width),
            **_linear(f"{own}output.dense", width, hidden),
        }
    if not classes:
        return {**shapes, **_linear("pooler.dense", width, width)}
    return {
        **{f"vit.{name}": shape for name, shape in shapes.items()},
        **_linear("classifier", classes, width),
    }


def dinov3(blocks, *, patch, registers=4):
    """facebook/dinov3-vitb16-pretrain-lvd1689m: DINOv3ViTModel; keys have no bias."""
    width, hidden, depth = blocks
    shapes = {
        "embeddings.cls_token": (1, 1, width),
        "embeddings.mask_token": (1, 1, width),
        "embeddings.register_tokens": (1, registers, width),
        "embeddings.patch_embeddings.weight": (width, 3, patch, patch),
        "embeddings.patch_embeddings.bias": (width,),
        **_norm("norm", width),
    }
    for layer in range(depth):
        own = f"layer.{layer}."
        shapes |= {
            **_norm(f"{own}norm1", width),
            **_norm(f"{own}norm2", width),
            f"{own}attention.k_proj.weight": (width, width),
            **_linear(f"{own}attention.q_proj", width, width),
            **_linear(f"{own}attention.v_proj", width, width),
            **_linear(f"{own}attention.o_proj", width, width),
            f"{own}layer_scale1.lambda1": (width,),
            f"{own}layer_scale2.lambda1": (width,),
            **_linear(f"{own}mlp.up_proj", hidden, width),
            **_linear(f"{own}mlp.down_proj", width, hidden),
        }
    return shapes


def aimv2(blocks, *, patch):
    """apple/aimv2-large-patch14-native in Apple's own layout: positions are computed, matrices fused, no biases."""
    width, hidden, depth = blocks
    shapes = {
        "preprocessor.patchifier.proj.weight": (width, 3, patch, patch),
        "preprocessor.patchifier.proj.bias": (width,),
        "preprocessor.patchifier.norm.weight": (width,),
        "trunk.post_trunk_norm.weight": (width,),
    }
    for layer in range(depth):
        own = f"trunk.blocks.{layer}."
        shapes |= {
            f"{own}attn.qkv.weight": (3 * width, width),
            f"{own}attn.proj.weight": (width, width),
            f"{own}mlp.fc1.weight": (hidden, width),
            f"{own}mlp.fc2.weight": (width, hidden),
            f"{own}mlp.fc3.weight": (hidden, width),
            f"{own}norm_1.weight": (width,),
            f"{own}norm_2.weight": (width,),
        }
    return shapes


def aimv2_of_transformers(state):
    """The same weights as the repository's later revisions lay them out."""
    names = {
        "preprocessor.patchifier.proj": "embeddings.patch_embed",
        "preprocessor.patchifier.norm": "embeddings.rms_norm",
        "trunk.post_trunk_norm": "rms_norm",
        "trunk.blocks": "encoder.layers",
        "attn.proj": "attention.out_proj",
        "mlp.fc1": "ffn.gate_proj",
        "mlp.fc2": "ffn.down_proj",
        "mlp.fc3": "ffn.up_proj",
        "norm_1": "rms_norm1",
        "norm_2": "rms_norm2",
    }
    found = {}
    for name, tensor in state.items():
        for old, new in names.items():
            name = name.replace(old, new)
        if ".attn.qkv." in name:
            for letter, third in zip("qkv", tensor.chunk(3), strict=True):
                found[name.replace(".attn.qkv.", f".attention.{letter}_proj.")] = third.contiguous()
        else:
            found[name] = tensor
    return found


def tensors(shapes, seed=0):
    """Draw a checkpoint of these shapes."""
    generator = torch.Generator().manual_seed(seed)
    drawn = {}
    for name, shape in shapes.items():
        noise = torch.randn(shape, generator=generator)
        centre = 1.0 if ("norm" in name and name.endswith("weight")) or "lambda1" in name else 0.0
        drawn[name] = centre + noise * (
            0.1 if centre or name.endswith("bias") else shape[-1] ** -0.5 if shape else 1
        )
    return drawn


def meta(shapes):
    """The same without memory."""
    return {name: torch.empty(shape, device="meta") for name, shape in shapes.items()}


def _text(prefix, blocks, vocabulary, context):
    width = blocks[0]
    return {
        f"{prefix}embeddings.token_embedding.weight": (vocabulary, width),
        f"{prefix}embeddings.position_embedding.weight": (context, width),
        **_blocks(f"{prefix}encoder.layers", *blocks),
        **_norm(f"{prefix}final_layer_norm", width),
    }


def _blocks(prefix, width, hidden, depth):
    shapes = {}
    for layer in range(depth):
        own = f"{prefix}.{layer}."
        for letter in ("k", "v", "q", "out"):
            shapes |= _linear(f"{own}self_attn.{letter}_proj", width, width)
        shapes |= {
            **_norm(f"{own}layer_norm1", width),
            **_linear(f"{own}mlp.fc1", hidden, width),
            **_linear(f"{own}mlp.fc2", width, hidden),
            **_norm(f"{own}layer_norm2", width),
        }
    return shapes


def _linear(name, out, into):
    return {f"{name}.weight": (out, into), f"{name}.bias": (out,)}


def _norm(name, width):
    return {f"{name}.weight": (width,), f"{name}.bias": (width,)}
