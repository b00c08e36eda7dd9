"""Random tensors under the names of published checkpoints, and a vision transformer written from its formula.

The transformer here shares no code with timm: it reads the tensors of a checkpoint by their names and does the sums of
the papers (ViT, DINOv2's layer scale and gated MLP, register tokens) with torch's functions.
"""

import torch
from torch.nn.functional import conv2d, gelu, layer_norm, linear, silu


def vit_shapes(
    depth,
    width,
    *,
    patch,
    hidden,
    positions,
    gated=False,
    scaled=False,
    registers=0,
    prefix="",
    stem=True,
):
    """Names and shapes of a vision transformer's checkpoint; `hidden` is the length between the MLP's two layers."""
    shapes = {}
    if stem:
        shapes |= {
            "cls_token": (1, 1, width),
            "pos_embed": (1, positions, width),
            "patch_embed.proj.weight": (width, 3, patch, patch),
            "patch_embed.proj.bias": (width,),
        }
        if registers:
            shapes["reg_token"] = (1, registers, width)
    first = 2 * hidden if gated else hidden
    for block in range(depth):
        inner = {
            "norm1.weight": (width,),
            "norm1.bias": (width,),
            "attn.qkv.weight": (3 * width, width),
            "attn.qkv.bias": (3 * width,),
            "attn.proj.weight": (width, width),
            "attn.proj.bias": (width,),
            "norm2.weight": (width,),
            "norm2.bias": (width,),
            "mlp.fc1.weight": (first, width),
            "mlp.fc1.bias": (first,),
            "mlp.fc2.weight": (width, hidden),
            "mlp.fc2.bias": (width,),
        }
        if scaled:
            inner |= {"ls1.gamma": (width,), "ls2.gamma": (width,)}
        shapes |= {f"{prefix}blocks.{block}.{name}": shape for name, shape in inner.items()}
    return shapes | {f"{prefix}norm.weight": (width,), f"{prefix}norm.bias": (width,)}


def mae_shapes(depth, width, *, decoder_depth, decoder_width, patch=16, positions=197):
    """Names and shapes of a masked autoencoder's checkpoint: encoder, mask token, decoder."""
    decoder = vit_shapes(
        decoder_depth,
        decoder_width,
        patch=patch,
        hidden=4 * decoder_width,
        positions=positions,
        prefix="decoder_",
        stem=False,
    )
    return {
        **vit_shapes(depth, width, patch=patch, hidden=4 * width, positions=positions),
        "mask_token": (1, 1, decoder_width),
        "decoder_pos_embed": (1, positions, decoder_width),
        "decoder_embed.weight": (decoder_width, width),
        "decoder_embed.bias": (decoder_width,),
        **decoder,
        "decoder_pred.weight": (3 * patch**2, decoder_width),
        "decoder_pred.bias": (3 * patch**2,),
    }


def drawn(shapes, seed=0):
    """Draw tensors of those names and shapes, no two alike, at scales at which a network's numbers stay moderate."""
    generator = torch.Generator().manual_seed(seed)
    return {name: _drawn(name, tuple(shape), generator) for name, shape in shapes.items()}


def redrawn(network, seed=0):
    """Give a network tensors of its own names, drawn as above (its batch norms' statistics too), and return it."""
    shapes = {name: tensor.shape for name, tensor in network.state_dict().items()}
    network.load_state_dict(drawn(shapes, seed))
    return network.eval()


def _drawn(name, shape, generator):
    if name.endswith("num_batches_tracked"):
        return torch.tensor(7)
    noise = torch.randn(shape, generator=generator)
    if name.endswith("running_var"):
        return 0.5 + noise.abs()
    if len(shape) < 2:
        return 0.1 * noise + (0.0 if name.endswith(("bias", "running_mean")) else 1.0)
    if len(shape) == 3:
        return 0.5 * noise
    return noise / noise[0].numel() ** 0.5


def length_and_gflops(tower, size):
    """Length of one image's features and what torch counts of its cost, from shapes alone (the tower is on meta)."""
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter, torch.no_grad():
        features = tower(torch.empty(1, 3, size, size, device="meta"))
    return features.shape[1], counter.get_total_flops() / 1e9


def vit_tokens(state, pixels, heads, *, gated=False, eps=1e-6):
    """Return the tokens after the last norm: class token, registers, patches, ``[B, 1 + registers + patches, D]``."""
    weight = state["patch_embed.proj.weight"]
    patches = conv2d(pixels, weight, state["patch_embed.proj.bias"], stride=weight.shape[-1])
    patches = patches.flatten(2).transpose(1, 2)
    special = [state[name] for name in ("cls_token", "reg_token") if name in state]
    special = [token.expand(len(pixels), -1, -1) for token in special]
    positions = state["pos_embed"]
    if positions.shape[1] == patches.shape[1]:
        tokens = torch.cat([*special, patches + positions], dim=1)
    else:
        tokens = torch.cat([*special, patches], dim=1) + positions
    depth = 1 + max(int(name.split(".")[1]) for name in state if name.startswith("blocks."))
    for block in range(depth):
        own = {
            name.removeprefix(f"blocks.{block}."): tensor
            for name, tensor in state.items()
            if name.startswith(f"blocks.{block}.")
        }
        tokens = tokens + own.get("ls1.gamma", 1.0) * _attention(own, _norm(own, "norm1", tokens, eps), heads)
        tokens = tokens + own.get("ls2.gamma", 1.0) * _mlp(own, _norm(own, "norm2", tokens, eps), gated)
    return _norm(state, "norm", tokens, eps)


def _norm(state, name, tokens, eps):
    return layer_norm(tokens, tokens.shape[-1:], state[f"{name}.weight"], state[f"{name}.bias"], eps)


def _attention(state, tokens, heads):
    batch, count, width = tokens.shape
    merged = linear(tokens, state["attn.qkv.weight"], state["attn.qkv.bias"])
    query, key, value = (
        part.reshape(batch, count, heads, width // heads).transpose(1, 2)
        for part in merged.split(width, dim=-1)
    )
    weights = (query @ key.transpose(-2, -1) / (width // heads) ** 0.5).softmax(dim=-1)
    mixed = (weights @ value).transpose(1, 2).reshape(batch, count, width)
    return linear(mixed, state["attn.proj.weight"], state["attn.proj.bias"])


def _mlp(state, tokens, gated):
    inner = linear(tokens, state["mlp.fc1.weight"], state["mlp.fc1.bias"])
    if gated:
        gate, inner = inner.chunk(2, dim=-1)
        inner = silu(gate) * inner
    else:
        inner = gelu(inner)
    return linear(inner, state["mlp.fc2.weight"], state["mlp.fc2.bias"])
