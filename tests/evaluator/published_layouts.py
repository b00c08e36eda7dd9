"""Names and shapes of published checkpoints, written down from their publishers' code, and weights drawn for them.

Every tensor is drawn differently, so that two of them taken for each other cannot give the same features.
"""

import math

import torch

Shapes = dict[str, tuple[int, ...]]


def drawn(shapes, seed=0):
    """Return random weights of these shapes; gains lie around one, variances are positive."""
    generator = torch.Generator().manual_seed(seed)
    return {name: _draw(name, shape, generator) for name, shape in shapes.items()}


def _draw(name, shape, generator):
    if name.endswith("num_batches_tracked"):
        return torch.tensor(7)
    noise = torch.randn(shape, generator=generator)
    if name.endswith("running_var"):
        return 1 + 0.3 * noise.abs()
    if len(shape) == 1 and name.endswith("weight"):
        return 1 + 0.1 * noise
    return noise * (0.05 if len(shape) < 2 else 1.5 * math.prod(shape[1:]) ** -0.5)


def _norm(prefix, width) -> Shapes:
    return {f"{prefix}.weight": (width,), f"{prefix}.bias": (width,)}


def _linear(prefix, width, inner) -> Shapes:
    return {f"{prefix}.weight": (width, inner), f"{prefix}.bias": (width,)}


def timm_vit(prefix, *, width, layers, patch, image) -> Shapes:
    """Return the layout of timm's vision transformer without a classifier."""
    made: Shapes = {
        f"{prefix}cls_token": (1, 1, width),
        f"{prefix}pos_embed": (1, (image // patch) ** 2 + 1, width),
        f"{prefix}patch_embed.proj.weight": (width, 3, patch, patch),
        f"{prefix}patch_embed.proj.bias": (width,),
        **_norm(f"{prefix}norm", width),
    }
    for layer in range(layers):
        block = f"{prefix}blocks.{layer}"
        made |= _norm(f"{block}.norm1", width) | _norm(f"{block}.norm2", width)
        made |= _linear(f"{block}.attn.qkv", 3 * width, width) | _linear(f"{block}.attn.proj", width, width)
        made |= _linear(f"{block}.mlp.fc1", 4 * width, width) | _linear(f"{block}.mlp.fc2", width, 4 * width)
    return made


def bert(prefix, *, width, layers, inner, words, places=512) -> Shapes:
    """Return the layout of BERT without its pooling layer."""
    made: Shapes = {
        f"{prefix}embeddings.word_embeddings.weight": (words, width),
        f"{prefix}embeddings.position_embeddings.weight": (places, width),
        f"{prefix}embeddings.token_type_embeddings.weight": (2, width),
        **_norm(f"{prefix}embeddings.LayerNorm", width),
    }
    for layer in range(layers):
        block = f"{prefix}encoder.layer.{layer}"
        for name in ("query", "key", "value"):
            made |= _linear(f"{block}.attention.self.{name}", width, width)
        made |= _linear(f"{block}.attention.output.dense", width, width)
        made |= _norm(f"{block}.attention.output.LayerNorm", width)
        made |= _linear(f"{block}.intermediate.dense", inner, width)
        made |= _linear(f"{block}.output.dense", width, inner) | _norm(f"{block}.output.LayerNorm", width)
    return made


def openai_transformer(prefix, *, width, layers) -> Shapes:
    """Return the layout of the blocks of OpenAI's CLIP, image or text."""
    made: Shapes = {}
    for layer in range(layers):
        block = f"{prefix}resblocks.{layer}"
        made |= {
            f"{block}.attn.in_proj_weight": (3 * width, width),
            f"{block}.attn.in_proj_bias": (3 * width,),
        }
        made |= _linear(f"{block}.attn.out_proj", width, width)
        made |= _norm(f"{block}.ln_1", width) | _norm(f"{block}.ln_2", width)
        made |= _linear(f"{block}.mlp.c_fc", 4 * width, width) | _linear(
            f"{block}.mlp.c_proj", width, 4 * width
        )
    return made


def openai_text(prefix, *, width, layers, words, places, projected) -> Shapes:
    """Return the layout of the text tower of OpenAI's CLIP."""
    return {
        f"{prefix}token_embedding.weight": (words, width),
        f"{prefix}positional_embedding": (places, width),
        f"{prefix}text_projection": (width, projected),
        **_norm(f"{prefix}ln_final", width),
        **openai_transformer(f"{prefix}transformer.", width=width, layers=layers),
    }


def openai_vit(*, width, layers, patch, image, projected) -> Shapes:
    """Return the layout of the vision transformer of OpenAI's CLIP."""
    return {
        "visual.class_embedding": (width,),
        "visual.positional_embedding": ((image // patch) ** 2 + 1, width),
        "visual.proj": (width, projected),
        "visual.conv1.weight": (width, 3, patch, patch),
        **_norm("visual.ln_pre", width),
        **_norm("visual.ln_post", width),
        **openai_transformer("visual.transformer.", width=width, layers=layers),
    }


def openai_resnet(*, width, layers, image, projected) -> Shapes:
    """Return the layout of the residual network of OpenAI's CLIP."""
    made: Shapes = {}

    def convolution(name, norm, out, inside, side):
        made[f"{name}.weight"] = (out, inside, side, side)
        made.update(_norm(norm, out))
        made.update(
            {f"{norm}.running_mean": (out,), f"{norm}.running_var": (out,), f"{norm}.num_batches_tracked": ()}
        )

    half = width // 2
    for number, (out, inside) in enumerate(((half, 3), (half, half), (width, half)), start=1):
        convolution(f"visual.conv{number}", f"visual.bn{number}", out, inside, 3)
    inside = width
    for stage, blocks in enumerate(layers):
        planes = width * 2**stage
        for block in range(blocks):
            name = f"visual.layer{stage + 1}.{block}"
            convolution(f"{name}.conv1", f"{name}.bn1", planes, inside, 1)
            convolution(f"{name}.conv2", f"{name}.bn2", planes, planes, 3)
            convolution(f"{name}.conv3", f"{name}.bn3", 4 * planes, planes, 1)
            if block == 0:
                convolution(f"{name}.downsample.0", f"{name}.downsample.1", 4 * planes, inside, 1)
            inside = 4 * planes
    made["visual.attnpool.positional_embedding"] = ((image // 32) ** 2 + 1, inside)
    for name in ("q_proj", "k_proj", "v_proj"):
        made |= _linear(f"visual.attnpool.{name}", inside, inside)
    return made | _linear("visual.attnpool.c_proj", projected, inside)


def coca_pooler(prefix, *, width, context, queries) -> Shapes:
    """Return the layout of an attentional pooler; the projections are one matrix where both widths are the same."""
    attention: Shapes = (
        {f"{prefix}.attn.in_proj_weight": (3 * width, width)}
        if width == context
        else {
            f"{prefix}.attn.q_proj_weight": (width, width),
            f"{prefix}.attn.k_proj_weight": (width, context),
            f"{prefix}.attn.v_proj_weight": (width, context),
        }
    )
    return {
        f"{prefix}.query": (queries, width),
        f"{prefix}.attn.in_proj_bias": (3 * width,),
        **attention,
        **_linear(f"{prefix}.attn.out_proj", width, width),
        **_norm(f"{prefix}.ln_q", width),
        **_norm(f"{prefix}.ln_k", context),
    }
