"""The architectures ``tiny-clip`` and ``tiny-sam``: members of their families, only smaller."""

from __future__ import annotations

from typing import TYPE_CHECKING

from evaluator.models.tiny.tokenizer import CONTEXT_LENGTH, END, PAD, VOCABULARY

if TYPE_CHECKING:
    from open_clip.model import CLIP
    from segment_anything.modeling import Sam

CLIP_SIDE, CLIP_WIDTH, CLIP_JOINT = 64, 96, 64
SAM_SIDE, SAM_PATCH, SAM_CHANNELS = 128, 8, 64


def build_tiny_clip() -> CLIP:
    """Build ``tiny-clip`` with random weights.

    Returns
    -------
    open_clip.model.CLIP
        Images ``[B, 3, 64, 64]``, tokens ``[B, 80]`` (see :mod:`evaluator.models.tiny.tokenizer`); 96
        features before the projection, 64 after it.
    """
    from open_clip.model import CLIP, CLIPTextCfg, CLIPVisionCfg

    vision = CLIPVisionCfg(
        layers=4, width=CLIP_WIDTH, head_width=24, patch_size=8, image_size=CLIP_SIDE, pool_type="avg"
    )
    text = CLIPTextCfg(
        context_length=CONTEXT_LENGTH,
        vocab_size=VOCABULARY,
        width=64,
        heads=4,
        layers=2,
        pad_id=PAD,
        eos_id=END,
    )
    return CLIP(CLIP_JOINT, vision, text)


def build_tiny_sam() -> Sam:
    """Build ``tiny-sam`` with random weights.

    Returns
    -------
    segment_anything.modeling.Sam
        Images ``[B, 3, 128, 128]``; embedding ``[B, 64, 16, 16]``; masks of 64 x 64 before upsampling.
    """
    from functools import partial

    import torch
    from segment_anything.modeling import ImageEncoderViT, MaskDecoder, PromptEncoder, Sam, TwoWayTransformer

    cells = SAM_SIDE // SAM_PATCH
    return Sam(
        image_encoder=ImageEncoderViT(
            img_size=SAM_SIDE,
            patch_size=SAM_PATCH,
            embed_dim=96,
            depth=4,
            num_heads=4,
            mlp_ratio=3,
            out_chans=SAM_CHANNELS,
            norm_layer=partial(torch.nn.LayerNorm, eps=1e-6),
            use_rel_pos=True,
            window_size=8,
            global_attn_indexes=(1, 3),
        ),
        prompt_encoder=PromptEncoder(
            embed_dim=SAM_CHANNELS,
            image_embedding_size=(cells, cells),
            input_image_size=(SAM_SIDE, SAM_SIDE),
            mask_in_chans=8,
        ),
        mask_decoder=MaskDecoder(
            num_multimask_outputs=3,
            transformer=TwoWayTransformer(depth=2, embedding_dim=SAM_CHANNELS, mlp_dim=128, num_heads=4),
            transformer_dim=SAM_CHANNELS,
            iou_head_depth=3,
            iou_head_hidden_dim=64,
        ),
    )
