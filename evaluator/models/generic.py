"""Models without an entry of their own: ``openclip:``, ``timm:``, ``sam:`` and ``hf:`` names.

=====================================  ====================================================================
``openclip:ARCH/PRETRAINED``           weights by a tag that open_clip knows, from the hub
``openclip:ARCH@FILE``                 any checkpoint of that architecture
``timm:NAME``                          timm's own weights of ``architecture.tag``, from the hub
``timm:NAME@FILE``                     any checkpoint of that architecture
``timm:NAME@random``                   weights drawn at random (seed 0; ``@random:7`` for seed 7), a control
``sam:ARCH@FILE``                      any checkpoint of ``vit_b``, ``vit_l``, ``vit_h``
``hf:REPO``                            a Hugging Face repository in the hub's cache on this machine
``hf:REPO@FOLDER``                     a copy of one in a folder (see :mod:`evaluator.models.generic_hf`)
=====================================  ====================================================================

Preprocessing comes from the library's own configuration of the weights. Feature lengths and costs are read
off the network built without memory (torch's meta device), so they are never a guess. Only these names need
torch; listing models does not.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

from evaluator.models.card import ModelCard, Preprocessing, Weights
from evaluator.models.cards.sam import sam_card
from evaluator.models.generic_hf import hf_card
from shards.errors import UserError, unknown_name

if TYPE_CHECKING:
    from torch import Tensor

_UNKNOWN = "unknown: see the publisher's page"
_FILE_NOTE = "Weights of the user's own; what they were trained on is not known here."


def is_generic(name: str) -> bool:
    """Tell whether a name is of the form ``family:...``."""
    return ":" in name


def generic_card(name: str) -> ModelCard:
    """Describe the model of a generic name.

    Parameters
    ----------
    name
        See the module's text.

    Raises
    ------
    UserError
        If the family, the architecture or the tag is unknown, or the weights want a preprocessing that we
        lack.
    """
    family, _, rest = name.partition(":")
    makers: dict[str, Callable[[str], ModelCard]] = {
        "openclip": _openclip,
        "timm": _timm,
        "sam": _sam,
        "hf": hf_card,
    }
    if family not in makers:
        raise unknown_name("model family", family, makers)
    return makers[family](rest)


def _split_file(rest: str) -> tuple[str, str | None]:
    """Split ``NAME@FILE``; the file is None where there is no ``@``."""
    left, at, file = rest.partition("@")
    if not left or (at and not file):
        raise UserError(f"model name {rest!r} must be NAME or NAME@FILE, with neither side empty.")
    return left, file or None


def _sam(rest: str) -> ModelCard:
    architecture, file = _split_file(rest)
    known = ("vit_b", "vit_l", "vit_h")
    if architecture not in known:
        raise unknown_name("SAM architecture", architecture, known)
    if file is None:
        raise UserError(f"model name 'sam:{rest}' must name its weights: 'sam:{architecture}@FILE'.")
    return sam_card(
        f"sam:{rest}", architecture, Weights(file=file), licence=_UNKNOWN, trained_on=(), notes=(_FILE_NOTE,)
    )


@cache
def _timm(rest: str) -> ModelCard:
    import timm
    import torch
    from timm.data import config as timm_config

    architecture, file = _split_file(rest)
    if timm.get_pretrained_cfg(architecture.partition(".")[0], allow_unregistered=True) is None:
        raise unknown_name("timm model", architecture, timm.list_models() + timm.list_pretrained())
    try:
        with torch.device("meta"):
            network: Any = timm.create_model(architecture, num_classes=0)
    except RuntimeError as error:  # a tag that the architecture does not have
        tagged = timm.list_pretrained(f"{architecture.partition('.')[0]}*")
        raise unknown_name("timm model", architecture, tagged) from error
    published: Mapping[str, Any] = network.pretrained_cfg
    network.eval().requires_grad_(False)
    resolve: Any = timm_config.resolve_model_data_config  # untyped
    preprocessing = _timm_preprocessing(architecture, resolve(network))
    (features,), gflops = measure(lambda pixels: (network(pixels),), preprocessing.size, architecture)
    weights, options, notes = _timm_weights(architecture, file, published)
    return ModelCard(
        name=f"timm:{rest}",
        family="timm",
        architecture=architecture,
        weights=weights,
        preprocessing=preprocessing,
        licence=published.get("license") or _UNKNOWN if file is None else _UNKNOWN,
        abilities=frozenset({"encode"}),
        feature="pooled features before the classifier",
        dimension=features,
        gflops=gflops,
        options=options,
        notes=notes,
    )


def _timm_weights(
    architecture: str, file: str | None, published: Mapping[str, Any]
) -> tuple[Weights, dict[str, Any], tuple[str, ...]]:
    """Return where the weights are, the builder's options and what to say about them."""
    if file is not None and file.partition(":")[0] == "random":
        seed = file.partition(":")[2] or "0"
        if not seed.isdecimal():
            raise UserError(f"seed of 'timm:{architecture}@{file}' must be a whole number, got {seed!r}.")
        return Weights(), {"random_seed": int(seed)}, ("Weights are random: a control, not a trained model.",)
    if file is not None:
        return Weights(file=file), {}, (_FILE_NOTE,)
    hub = published.get("hf_hub_id")
    if not hub:
        raise UserError(
            f"timm model {architecture!r} has no published weights. Give a file: 'timm:{architecture}@FILE', "
            f"or 'timm:{architecture}@random' for a random control."
        )
    note = "Training data: see the hub page; contamination is not known here."
    return Weights(file="model.safetensors", hub=hub, page=f"https://huggingface.co/{hub}"), {}, (note,)


def _timm_preprocessing(name: str, config: Mapping[str, Any]) -> Preprocessing:
    channels, height, width = config["input_size"]
    if config["crop_mode"] not in ("center", "squash") or config["interpolation"] not in (
        "bicubic",
        "bilinear",
    ):
        raise UserError(
            f"timm {name!r} wants {config['interpolation']} resizing, crop mode {config['crop_mode']!r}; "
            "only  bicubic or bilinear with 'center' or 'squash' are supported."
        )
    squash = config["crop_mode"] == "squash"
    if channels != 3 or height != width or (squash and config["crop_pct"] != 1.0):
        raise UserError(
            f"timm model {name!r} wants input {config['input_size']}; only square RGB images are supported."
        )
    return Preprocessing(
        size=height,
        resize="squash" if squash else "shortest-crop",
        interpolation=config["interpolation"],
        mean=_three(config["mean"]),
        std=_three(config["std"]),
        crop_fraction=float(config["crop_pct"]),
    )


@cache
def _openclip(rest: str) -> ModelCard:
    from evaluator.models.families._openclip_tokens import tokenizer_file
    from evaluator.models.families.openclip import architecture_config, build, split_tower

    name, file = _split_file(rest)
    architecture, slash, tag = name.partition("/")
    config = architecture_config(architecture)
    if bool(slash) == (file is not None):
        raise UserError(
            f"model name 'openclip:{rest}' must be 'openclip:ARCH/PRETRAINED' or 'openclip:ARCH@FILE'."
        )
    published = {} if file is not None else _openclip_published(architecture, tag)
    weights, notes = (
        (Weights(file=file), (_FILE_NOTE,)) if file is not None else _openclip_weights(published, rest)
    )
    options = {"quick_gelu": True} if published.get("quick_gelu") and not config.get("quick_gelu") else {}
    preprocessing = _openclip_preprocessing(rest, config, published)
    card = ModelCard(
        name=f"openclip:{rest}",
        family="openclip",
        architecture=architecture,
        weights=weights,
        preprocessing=preprocessing,
        licence=_UNKNOWN,
        abilities=frozenset({"encode", "text"}),
        feature="pooled features before the projection",
        dimension=0,
        context_length=config["text_cfg"].get("context_length", 77),
        tokenizer=tokenizer_file(config["text_cfg"]),
        options=options,
        notes=notes,
    )
    return _with_lengths(card, build, split_tower)


def _with_lengths(
    card: ModelCard,
    build: Callable[[ModelCard], Any],
    split_tower: Callable[[Any], Callable[[Tensor], tuple[Tensor, ...]]],
) -> ModelCard:
    from dataclasses import replace

    import torch

    with torch.device("meta"):
        tower = split_tower(build(card).eval().requires_grad_(False).visual)
    (features, projected), gflops = measure(tower, card.preprocessing.size, card.architecture)
    return replace(card, dimension=features, projected=projected, gflops=gflops)


def _openclip_published(architecture: str, tag: str) -> Mapping[str, Any]:
    import open_clip

    published = open_clip.get_pretrained_cfg(architecture, tag)
    if not published:
        known = open_clip.list_pretrained_tags_by_model(architecture)
        raise unknown_name(f"weights of open_clip's {architecture}", tag, known)
    return dict(published)


def _openclip_weights(published: Mapping[str, Any], rest: str) -> tuple[Weights, tuple[str, ...]]:
    repository, _, file = published.get("hf_hub", "").rpartition("/")
    if not repository:
        raise UserError(
            f"weights 'openclip:{rest}' are not on the hub. Download {published.get('url')} and use "
            "'openclip:ARCH@FILE'."
        )
    note = "Training data: see the hub page; contamination is not known here."
    page = f"https://huggingface.co/{repository}"
    return Weights(file=file or "open_clip_model.safetensors", hub=repository, page=page), (note,)


def _openclip_preprocessing(
    rest: str, config: Mapping[str, Any], published: Mapping[str, Any]
) -> Preprocessing:
    from open_clip.transform import PreprocessCfg, merge_preprocess_dict

    wanted = merge_preprocess_dict(PreprocessCfg(), dict(published))
    size = config["vision_cfg"].get("image_size", 224)
    mode = wanted["resize_mode"]
    if (
        mode not in ("shortest", "squash")
        or not isinstance(size, int)
        or wanted["interpolation"] not in ("bicubic", "bilinear")
    ):
        raise UserError(
            f"weights 'openclip:{rest}' want {wanted['interpolation']} resizing {mode!r} to {size}; "
            "only bicubic or bilinear 'shortest' or 'squash' to a square are supported."
        )
    return Preprocessing(
        size=size,
        resize="squash" if mode == "squash" else "shortest-crop",
        interpolation=wanted["interpolation"],
        mean=_three(wanted["mean"]),
        std=_three(wanted["std"]),
    )


def _three(values: tuple[float, ...]) -> tuple[float, float, float]:
    red, green, blue = values if len(values) == 3 else values * 3
    return float(red), float(green), float(blue)


def measure(
    tower: Callable[[Tensor], tuple[Tensor, ...]], size: int, architecture: str
) -> tuple[tuple[int, ...], float]:
    """Return the feature lengths and the GFLOPs of one image, from shapes alone.

    Parameters
    ----------
    tower
        Gives vectors ``[1, D]`` of an image, on torch's meta device.
    size
        Side of the image.
    architecture
        For the message.

    Raises
    ------
    UserError
        If an output is no vector per image.
    """
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        outputs = tower(torch.empty(1, 3, size, size, device="meta"))
    if any(output.ndim != 2 for output in outputs):
        shapes = [list(output.shape) for output in outputs]
        raise UserError(f"architecture {architecture!r} must give one vector per image, got shapes {shapes}.")
    return tuple(int(output.shape[1]) for output in outputs), round(counter.get_total_flops() / 1e9, 3)
