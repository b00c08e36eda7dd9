"""The same networks as timm and open_clip have them, filled from a published checkpoint by names of this file alone."""

import re
from functools import partial

import timm
import torch
from open_clip.model import CLIP, QuickGELU
from open_clip.transformer import TextTransformer
from torch import nn


def filled(network, state):
    """Copy a state into a network, all of it."""
    network.load_state_dict(state, strict=True)
    return network.eval().requires_grad_(False)


def renamed(state, rules):
    """Apply rules in order; a name that becomes None is left out."""
    found = {}
    for name, tensor in state.items():
        for pattern, new in rules:
            if new is None and re.search(pattern, name):
                break
            name = re.sub(pattern, new or "", name)
        else:
            found[name] = tensor
    return found


def fused(state, parts, whole, missing_bias=False):
    """Join three matrices and biases to one; a key without bias gets zeros."""
    found = dict(state)
    for name in list(state):
        if not name.endswith(f"{parts[0]}.weight"):
            continue
        stem = name.removesuffix(f"{parts[0]}.weight")
        for kind, end in whole.items():
            each = [found.pop(f"{stem}{part}.{kind}", None) for part in parts]
            if kind == "bias" and each[1] is None and missing_bias:
                each[1] = torch.zeros_like(each[0])
            found[stem + end] = torch.cat(each)
    return found


_TORCH_ATTENTION = {"weight": "attn.in_proj_weight", "bias": "attn.in_proj_bias"}
_TIMM_ATTENTION = {"weight": "attn.qkv.weight", "bias": "attn.qkv.bias"}
_OPEN_CLIP_BLOCK = (
    (r"encoder\.layers", "transformer.resblocks"),
    (r"layer_norm([12])", r"ln_\1"),
    (r"self_attn\.out_proj", "attn.out_proj"),
    (r"mlp\.fc1", "mlp.c_fc"),
    (r"mlp\.fc2", "mlp.c_proj"),
    (r"self_attn\.", ""),
)


def clip(state, *, heads, text_heads, side, patch):
    """open_clip's CLIP with the activation of OpenAI's weights."""
    width = state["vision_model.post_layernorm.weight"].shape[0]
    depth = 1 + max(int(n.split(".")[3]) for n in state if n.startswith("vision_model.encoder"))
    text_depth = 1 + max(int(n.split(".")[3]) for n in state if n.startswith("text_model.encoder"))
    words, text_width = state["text_model.embeddings.token_embedding.weight"].shape
    network = CLIP(
        embed_dim=state["visual_projection.weight"].shape[0],
        quick_gelu=True,
        vision_cfg={
            "image_size": side,
            "patch_size": patch,
            "width": width,
            "layers": depth,
            "head_width": width // heads,
        },
        text_cfg={
            "context_length": state["text_model.embeddings.position_embedding.weight"].shape[0],
            "vocab_size": words,
            "width": text_width,
            "heads": text_heads,
            "layers": text_depth,
        },
    )
    assert any(isinstance(module, QuickGELU) for module in network.modules())
    own = renamed(
        state,
        (
            (r"position_ids", None),
            (r"^text_model\.embeddings\.token_embedding", "token_embedding"),
            (r"^text_model\.embeddings\.position_embedding\.weight", "positional_embedding"),
            (r"^text_model\.final_layer_norm", "ln_final"),
            (r"^text_model\.", ""),
            (r"^text_projection\.weight", "text_projection"),
            (r"^vision_model\.embeddings\.class_embedding", "visual.class_embedding"),
            (r"^vision_model\.embeddings\.patch_embedding", "visual.conv1"),
            (r"^vision_model\.embeddings\.position_embedding\.weight", "visual.positional_embedding"),
            (r"^vision_model\.pre_layrnorm", "visual.ln_pre"),
            (r"^vision_model\.post_layernorm", "visual.ln_post"),
            (r"^vision_model\.", "visual."),
            (r"^visual_projection\.weight", "visual.proj"),
            *_OPEN_CLIP_BLOCK,
        ),
    )
    own = fused(own, ("q_proj", "k_proj", "v_proj"), _TORCH_ATTENTION)
    for name in ("text_projection", "visual.proj"):
        own[name] = own[name].T.contiguous()
    return filled(network, own)


def siglip_vision(state, *, heads, side, patch, pooled=True):
    """timm's SigLIP tower, with attention pooling or the mean over patches."""
    width = state["post_layernorm.weight"].shape[0]
    hidden = state["encoder.layers.0.mlp.fc1.weight"].shape[0]
    depth = 1 + max(int(n.split(".")[2]) for n in state if n.startswith("encoder"))
    sizes = {"img_size": side, "patch_size": patch, "embed_dim": width, "depth": depth, "num_heads": heads}
    name = "vit_base_patch16_siglip_224" if pooled else "vit_base_patch16_siglip_gap_224"
    # The configurations on the hub say tanh, as the code that trained the models does; timm approximates otherwise for some.
    sizes["act_layer"] = "gelu_tanh"
    network = timm.create_model(name, num_classes=0, mlp_ratio=hidden / width, **sizes)
    own = renamed(
        state,
        (
            (r"^embeddings\.patch_embedding", "patch_embed.proj"),
            (r"^embeddings\.position_embedding\.weight", "pos_embed"),
            (r"^encoder\.layers", "blocks"),
            (r"layer_norm([12])", r"norm\1"),
            (r"self_attn\.out_proj", "attn.proj"),
            (r"self_attn\.", ""),
            (r"^post_layernorm", "norm"),
            (r"^head\.probe", "attn_pool.latent"),
            (r"^head\.attention\.in_proj_(weight|bias)", r"attn_pool.in_proj.\1"),
            (r"^head\.attention\.out_proj", "attn_pool.proj"),
            (r"^head\.layernorm", "attn_pool.norm"),
            (r"^head\.mlp", "attn_pool.mlp"),
        ),
    )
    own = fused(own, ("q_proj", "k_proj", "v_proj"), _TIMM_ATTENTION)
    own["pos_embed"] = own["pos_embed"][None]
    for kind in ("weight", "bias") if pooled else ():
        question, *rest = own.pop(f"attn_pool.in_proj.{kind}").chunk(3)
        own[f"attn_pool.q.{kind}"], own[f"attn_pool.kv.{kind}"] = question, torch.cat(rest)
    return filled(network, own)


def siglip_text(state, *, heads):
    """open_clip's text tower of SigLIP: no causal mask, the last of the padded tokens."""
    words, width = state["embeddings.token_embedding.weight"].shape
    depth = 1 + max(int(n.split(".")[2]) for n in state if n.startswith("encoder"))
    network = TextTransformer(
        context_length=state["embeddings.position_embedding.weight"].shape[0],
        vocab_size=words,
        width=width,
        heads=heads,
        layers=depth,
        mlp_ratio=state["encoder.layers.0.mlp.fc1.weight"].shape[0] / width,
        output_dim=width,
        no_causal_mask=True,
        pool_type="last",
        proj_bias=True,
        act_layer=partial(nn.GELU, approximate="tanh"),
        norm_layer=partial(nn.LayerNorm, eps=1e-6),
    )
    own = renamed(
        state,
        (
            (r"^embeddings\.token_embedding", "token_embedding"),
            (r"^embeddings\.position_embedding\.weight", "positional_embedding"),
            (r"^final_layer_norm", "ln_final"),
            (r"^head\.", "text_projection."),
            *_OPEN_CLIP_BLOCK,
        ),
    )
    return filled(network, fused(own, ("q_proj", "k_proj", "v_proj"), _TORCH_ATTENTION))


def vit(state, *, heads, side, patch, registers=0):
    """timm's plain ViT or DINOv2."""
    width = state["layernorm.weight"].shape[0]
    depth = 1 + max(int(n.split(".")[2]) for n in state if n.startswith("encoder"))
    dino = any("layer_scale" in name for name in state)
    name = f"vit_base_patch14_{'reg4_' if registers else ''}dinov2" if dino else "vit_base_patch16_224"
    mlp = "encoder.layer.0.mlp.fc1.weight" if dino else "encoder.layer.0.intermediate.dense.weight"
    network = timm.create_model(
        name,
        num_classes=0,
        img_size=side,
        patch_size=patch,
        embed_dim=width,
        depth=depth,
        num_heads=heads,
        mlp_ratio=state[mlp].shape[0] / width,
        **({"norm_layer": partial(nn.LayerNorm, eps=1e-12)} if not dino else {}),
    )
    own = renamed(
        state,
        (
            (r"mask_token|^pooler|^classifier", None),
            (r"^embeddings\.cls_token", "cls_token"),
            (r"^embeddings\.register_tokens", "reg_token"),
            (r"^embeddings\.position_embeddings", "pos_embed"),
            (r"^embeddings\.patch_embeddings\.projection", "patch_embed.proj"),
            (r"^encoder\.layer", "blocks"),
            (r"attention\.attention\.", ""),
            (r"attention\.output\.dense", "attn.proj"),
            (r"layer_scale([12])\.lambda1", r"ls\1.gamma"),
            (r"layernorm_before", "norm1"),
            (r"layernorm_after", "norm2"),
            (r"intermediate\.dense", "mlp.fc1"),
            (r"output\.dense", "mlp.fc2"),
            (r"^layernorm", "norm"),
        ),
    )
    own = fused(own, ("query", "key", "value"), _TIMM_ATTENTION)
    if registers:  # timm folds the position of the class token into that token
        own["cls_token"] = own["cls_token"] + own["pos_embed"][:, :1]
        own["pos_embed"] = own["pos_embed"][:, 1:]
    return filled(network, own)


def dinov3(state, *, heads, side):
    """timm's DINOv3, with biases of query and value."""
    width = state["norm.weight"].shape[0]
    depth = 1 + max(int(n.split(".")[1]) for n in state if n.startswith("layer."))
    network = timm.create_model(
        "vit_base_patch16_dinov3_qkvb",
        num_classes=0,
        global_pool="token",
        img_size=side,
        embed_dim=width,
        depth=depth,
        num_heads=heads,
        mlp_ratio=state["layer.0.mlp.up_proj.weight"].shape[0] / width,
    )
    own = renamed(
        state,
        (
            (r"mask_token", None),
            (r"^embeddings\.cls_token", "cls_token"),
            (r"^embeddings\.register_tokens", "reg_token"),
            (r"^embeddings\.patch_embeddings", "patch_embed.proj"),
            (r"^layer\.", "blocks."),
            (r"attention\.o_proj", "attn.proj"),
            (r"attention\.", ""),
            (r"layer_scale([12])\.lambda1", r"gamma_\1"),
            (r"mlp\.up_proj", "mlp.fc1"),
            (r"mlp\.down_proj", "mlp.fc2"),
        ),
    )
    own = fused(own, ("q_proj", "k_proj", "v_proj"), _TIMM_ATTENTION, missing_bias=True)
    for layer in range(depth):
        stem = f"blocks.{layer}.attn."
        bias = own.pop(f"{stem}qkv.bias")
        own[f"{stem}q_bias"], _, own[f"{stem}v_bias"] = bias.chunk(3)
    return filled(network, own)


def aimv2(state, *, heads, side, patch):
    """timm's AIMv2, its positions replaced by those that the weights of any size compute."""
    width = state["trunk.post_trunk_norm.weight"].shape[0]
    hidden = state["trunk.blocks.0.mlp.fc1.weight"].shape[0]
    depth = 1 + max(int(n.split(".")[2]) for n in state if n.startswith("trunk.blocks"))
    network = timm.create_model(
        "aimv2_large_patch14_224",
        num_classes=0,
        img_size=side,
        patch_size=patch,
        embed_dim=width,
        depth=depth,
        num_heads=heads,
        mlp_ratio=hidden / width,
    )
    own = renamed(
        state,
        (
            (r"^preprocessor\.patchifier\.", "patch_embed."),
            (r"^trunk\.post_trunk_norm", "norm"),
            (r"^trunk\.", ""),
            (r"norm_([12])", r"norm\1"),
            (r"mlp\.fc1", "mlp.fc1_g"),
            (r"mlp\.fc3", "mlp.fc1_x"),
        ),
    )
    own["pos_embed"] = sines_and_cosines(side // patch, width)[None]
    return filled(network, own)


def sines_and_cosines(grid, width):
    """Positions of AIMv2 (El-Nouby et al. 2024, section 3.1): sine and cosine of the column, then of the row."""
    quarter = width // 4
    frequencies = 10000.0 ** -(torch.arange(quarter) / quarter)
    rows, columns = torch.meshgrid(torch.arange(grid), torch.arange(grid), indexing="ij")
    parts = []
    for place in (columns, rows):
        angles = place.reshape(-1, 1) * frequencies
        parts += [angles.sin(), angles.cos()]
    return torch.cat(parts, dim=1)
