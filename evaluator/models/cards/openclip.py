"""Vision-language models of the open_clip library."""

from __future__ import annotations

from evaluator.models.card import ModelCard, Preprocessing, TokenizerFile, Weights
from evaluator.models.cards._constants import CLIP

BIOMEDCLIP_HUB = "microsoft/BiomedCLIP-PubMedBERT_256-vit_base_patch16_224"
CONCH_TOKENIZER = TokenizerFile(
    "conch_byte_level_bpe_uncased.json",
    hub=None,
    address="https://github.com/mahmoodlab/CONCH/tree/main/conch/open_clip_custom/tokenizers",
)
_OPENAI_UNLISTED = (
    "OpenAI did not publish the list of its 400 million training pairs: contamination cannot be excluded."
)


def cards() -> tuple[ModelCard, ...]:
    """Return the cards of this family."""
    openai = ("openai-wit-400m",)
    unlisted = _OPENAI_UNLISTED
    unchecked = "Trained on web images that were not checked for medical test sets."
    laion = "laion/CLIP-ViT-B-32-laion2B-s34B-b79K"
    base = (768, 512)
    return (
        _clip(
            "clip-vit-b32",
            "ViT-B-32-quickgelu",
            "timm/vit_base_patch32_clip_224.openai",
            openai,
            base,
            8.8,
            note=unlisted,
            aliases=("clip", "openai-clip"),
        ),
        _clip(
            "clip-vit-b16",
            "ViT-B-16-quickgelu",
            "timm/vit_base_patch16_clip_224.openai",
            openai,
            base,
            35.1,
            note=unlisted,
        ),
        _clip(
            "clip-vit-l14",
            "ViT-L-14-quickgelu",
            "timm/vit_large_patch14_clip_224.openai",
            openai,
            (1024, 768),
            162.0,
            note=unlisted,
        ),
        _clip("clip-vit-b32-laion2b", "ViT-B-32", laion, ("laion-2b-en",), base, 8.8, note=unchecked),
        _pubmedclip(
            "pubmedclip-vit-b32",
            "ViT-B-32-quickgelu",
            "PubMedCLIP_ViT32.pth",
            "class token after the last norm, before the projection",
            (768, 512),
            8.8,
            ("pubmedclip", "pubmedclip-vit32"),
        ),
        _pubmedclip(
            "pubmedclip-rn50",
            "RN50-quickgelu",
            "PubMedCLIP_RN50.pth",
            "average of the last map, before the attention pool that projects",
            (2048, 1024),
            12.2,
        ),
        _pubmedclip(
            "pubmedclip-rn50x4",
            "RN50x4-quickgelu",
            "PubMedCLIP_RN50x4.pth",
            "average of the last map, before the attention pool that projects",
            (2560, 640),
            42.6,
            size=288,
        ),
        _biomedclip(),
        _conch(),
    )


def _clip(
    name: str,
    architecture: str,
    hub: str,
    trained_on: tuple[str, ...],
    lengths: tuple[int, int],
    gflops: float,
    *,
    note: str,
    aliases: tuple[str, ...] = (),
) -> ModelCard:
    return ModelCard(
        name=name,
        family="openclip",
        architecture=architecture,
        weights=Weights(file="open_clip_model.safetensors", hub=hub, page=f"https://huggingface.co/{hub}"),
        preprocessing=Preprocessing(224, "shortest-crop", "bicubic", *CLIP),
        licence="MIT",
        abilities=frozenset({"encode", "text"}),
        feature="class token after the last norm, before the projection",
        dimension=lengths[0],
        projected=lengths[1],
        context_length=77,
        trained_on=trained_on,
        gflops=gflops,
        aliases=aliases,
        notes=(note,),
    )


def _pubmedclip(
    name: str,
    architecture: str,
    file: str,
    feature: str,
    lengths: tuple[int, int],
    gflops: float,
    aliases: tuple[str, ...] = (),
    size: int = 224,
) -> ModelCard:
    hub = "sarahESL/PubMedCLIP"
    return ModelCard(
        name=name,
        family="openclip",
        architecture=architecture,
        weights=Weights(file=file, hub=hub, page=f"https://huggingface.co/{hub}"),
        preprocessing=Preprocessing(size, "shortest-crop", "bicubic", *CLIP),
        licence="Creative Commons (the publisher does not say which)",
        abilities=frozenset({"encode", "text"}),
        feature=feature,
        dimension=lengths[0],
        projected=lengths[1],
        context_length=77,
        trained_on=("openai-wit-400m", "roco"),
        gflops=gflops,
        aliases=aliases,
        notes=(
            "Its training multiplied the logits by exp(0.01)/exp(0.07) = 0.942, which is no part of the model here: the scale "
            "is the learned one, so ranks are the same and probabilities a little farther from even.",
            "Images are prepared as for OpenAI's CLIP, as FairMedFM does; the published training code has "
            f"{'250 pixels and ' if size == 224 else ''}ImageNet's mean and deviation.",
            _OPENAI_UNLISTED,
        ),
    )


def _biomedclip() -> ModelCard:
    return ModelCard(
        name="biomedclip",
        family="openclip",
        architecture="biomedclip",
        weights=Weights(
            file="open_clip_pytorch_model.bin",
            hub=BIOMEDCLIP_HUB,
            page=f"https://huggingface.co/{BIOMEDCLIP_HUB}",
        ),
        preprocessing=Preprocessing(224, "shortest-crop", "bicubic", *CLIP),
        licence="MIT",
        abilities=frozenset({"encode", "text"}),
        feature="class token after the last norm, before the projection",
        dimension=768,
        projected=512,
        context_length=256,
        tokenizer=TokenizerFile("tokenizer.json", BIOMEDCLIP_HUB),
        trained_on=("pmc-15m",),
        gflops=35.1,
        aliases=("biomedclip-pubmedbert-256-vit-base-patch16-224",),
        notes=(
            "Trained on figures of articles in PubMed Central, which may show images of public test sets: contamination cannot "
            "be excluded.",
        ),
    )


def _conch() -> ModelCard:
    hub = "MahmoodLab/conch"
    return ModelCard(
        name="conch",
        family="openclip",
        architecture="conch_ViT-B-16",
        weights=Weights(file="pytorch_model.bin", hub=hub, page=f"https://huggingface.co/{hub}", gated=True),
        preprocessing=Preprocessing(448, "shortest-crop", "bicubic", *CLIP),
        licence="CC-BY-NC-ND-4.0",
        abilities=frozenset({"encode", "text"}),
        feature="attentional pool of the contrastive branch after its norm, before the projection",
        dimension=512,
        projected=512,
        context_length=127,
        tokenizer=CONCH_TOKENIZER,
        trained_on=("conch-1.17m",),
        gflops=158.2,
        aliases=("conch-vit-b16",),
        notes=(
            "Made for stained tissue under the microscope; on radiographs, fundus photographs or skin it is out of its field.",
            "Trained on 1.17 million captioned images of tissue, without the large public collections TCGA, PAIP and GTEx.",
            "Texts may have 127 tokens: of the 128 places the last one is the class token's.",
        ),
    )
