"""Models of Hugging Face repositories without an entry of their own: ``hf:REPO`` and ``hf:REPO@FOLDER``.

What a network is comes from the repository's ``config.json``, how images are prepared from its ``preprocessor_config.json``;
both are read from the hub's cache on this machine, or from a folder that holds a copy of the repository. No hub is asked, no
code of the repository runs: an architecture that transformers lacks is refused.

Guarantee: the card holds the numbers of the architecture, not where they were read, and those that a file leaves to the library
are written out. So a name means the same on every machine that has the same files. What a configuration says and this project
cannot do exactly (another interpolation, a crop that is no square, pixels that are not scaled to [0, 1]) is refused rather than
done nearly.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

from evaluator.models.card import ModelCard, Preprocessing, TokenizerFile, Weights
from evaluator.models.weights import MissingWeights
from shards.errors import UserError

_UNKNOWN = "unknown: see the publisher's page"
_NOTE = "Training data: see the hub page; contamination is not known here."
#: Classes with a classifier on top of a class of the family; the classifier is left out.
_WITH_CLASSIFIER = {
    "ViTForImageClassification": "ViTModel",
    "Dinov2ForImageClassification": "Dinov2Model",
    "Dinov2WithRegistersForImageClassification": "Dinov2WithRegistersModel",
    "DINOv3ViTForImageClassification": "DINOv3ViTModel",
}
_WEIGHTS = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)
#: What must be here before a name can be described; indexes of weights among it, because they say which files there are.
_DESCRIPTIONS = (
    "config.json",
    "preprocessor_config.json",
    "processor_config.json",
    "model.safetensors.index.json",
    "pytorch_model.bin.index.json",
)
_INTERPOLATIONS: dict[int, Literal["bilinear", "bicubic"]] = {2: "bilinear", 3: "bicubic"}
#: A vocabulary of this size is Gemma's, which SigLIP 2 uses.
_GEMMA_WORDS = 256000


class _Place(NamedTuple):
    """Where a repository's files are: a folder, or the hub's cache."""

    repository: str
    folder: Path | None

    def find(self, file: str) -> Path | None:
        if self.folder is not None:
            path = self.folder / file
            return path if path.is_file() else None
        from huggingface_hub import hf_hub_download

        try:
            return Path(hf_hub_download(self.repository, file, local_files_only=True))
        except (OSError, ValueError):  # not in the cache, or no name of a repository
            return None

    def read(self, file: str) -> dict[str, Any] | None:
        path = self.find(file)
        if path is None:
            return None
        try:
            value = json.loads(path.read_text())
        except ValueError as error:
            raise UserError(f"{path} is no JSON: {error}. Get it again.") from error
        if not isinstance(value, dict):
            raise UserError(f"{path} must hold a table, got {type(value).__name__}. Get it again.")
        return value


def fetch_description(name: str) -> None:
    """Get the files that describe a repository from the hub into its cache; other names than ``hf:REPO`` are left alone.

    Parameters
    ----------
    name
        Name of a model.

    Raises
    ------
    MissingWeights
        If the repository has no ``config.json``, or the hub cannot be reached.
    """
    family, _, repository = name.partition(":")
    if family != "hf" or not repository or "@" in repository:
        return
    from huggingface_hub import hf_hub_download

    for file in _DESCRIPTIONS:
        try:
            hf_hub_download(repository, file)
        except Exception as error:
            if file == "config.json":
                cause = (str(error).strip() or type(error).__name__).splitlines()[0]
                raise MissingWeights(
                    f"config.json of {name!r} cannot be had from https://huggingface.co/{repository}. The hub answered: {cause}"
                ) from error


def hf_card(rest: str) -> ModelCard:
    """Describe the model of a name without its ``hf:``.

    Parameters
    ----------
    rest
        ``REPO`` or ``REPO@FOLDER``; `REPO` is ``owner/name`` as on the hub.

    Raises
    ------
    MissingWeights
        If the configuration is not on this machine: says how to get it.
    UserError
        If the architecture or the preprocessing is none that this project does exactly.
    """
    repository, at, folder = rest.partition("@")
    if not repository or (at and not folder):
        raise UserError(
            f"model name 'hf:{rest}' must be 'hf:REPO' or 'hf:REPO@FOLDER', with neither side empty."
        )
    place = _Place(repository, Path(folder) if at else None)
    config = _required(place, "config.json")
    architecture = _architecture(repository, config)
    return _with_lengths(_card(rest, place, architecture, config))


def _card(rest: str, place: _Place, architecture: str, config: Mapping[str, Any]) -> ModelCard:
    from evaluator.models.families.hf import feature, numbers

    own = numbers(architecture, config)
    options: dict[str, Any] = {"config": own}
    text = own.get("text_config")
    if text is not None:
        gemma = architecture == "SiglipModel" and text["vocab_size"] == _GEMMA_WORDS
        options["texts"] = "clip" if architecture == "CLIPModel" else "siglip2" if gemma else "siglip"
    return ModelCard(
        name=f"hf:{rest}",
        family="hf",
        architecture=architecture,
        weights=_weights(place),
        preprocessing=_preprocessing(place, own.get("vision_config", own), architecture),
        licence=_UNKNOWN,
        abilities=frozenset({"encode"} if text is None else {"encode", "text"}),
        feature=feature(architecture, own),
        dimension=0,
        context_length=None if text is None else text["max_position_embeddings"],
        tokenizer=None if text is None else TokenizerFile("tokenizer.json", place.repository),
        options=options,
        notes=(_NOTE,),
    )


def _with_lengths(card: ModelCard) -> ModelCard:
    from dataclasses import replace

    import torch

    from evaluator.models.families.hf import build, image_tower
    from evaluator.models.generic import measure

    with torch.device("meta"):
        network = build(card).eval().requires_grad_(False)
    tower = image_tower(card, network)
    lengths, gflops = measure(
        lambda pixels: tuple(output for output in tower(pixels) if output is not None),
        card.preprocessing.size,
        card.architecture,
    )
    return replace(
        card, dimension=lengths[0], projected=lengths[1] if len(lengths) > 1 else None, gflops=gflops
    )


def _required(place: _Place, file: str) -> dict[str, Any]:
    found = place.read(file)
    if found is not None:
        return found
    if place.folder is not None:
        raise MissingWeights(f"{file} of 'hf:{place.repository}' not found in {place.folder}. Copy it there.")
    raise MissingWeights(
        f"{file} of 'hf:{place.repository}' is not in the Hugging Face cache of this machine. With a network, "
        f"'fairray models fetch hf:{place.repository}' gets what is needed; or copy the repository and name the folder: "
        f"'hf:{place.repository}@FOLDER'."
    )


def _architecture(repository: str, config: Mapping[str, Any]) -> str:
    from evaluator.models.families.hf import architectures

    names = config.get("architectures")
    name = names[0] if isinstance(names, list) and names else _by_type(config)
    name = _WITH_CLASSIFIER.get(str(name), name)
    if name not in architectures():
        found = (
            (names or config.get("model_type")) if not isinstance(names, list) else ", ".join(map(str, names))
        )
        raise UserError(
            f"model 'hf:{repository}' is a {found}; the hf family builds {', '.join(architectures())}. Code of a repository "
            "is never run. If timm or open_clip has the model, use 'timm:NAME@FILE' or 'openclip:ARCH@FILE'."
        )
    return str(name)


def _by_type(config: Mapping[str, Any]) -> str | None:
    """Name the class by the model's type, where a configuration names no class (Google's SigLIP 2)."""
    types = {"siglip": "SiglipModel", "siglip_vision_model": "SiglipVisionModel", "clip": "CLIPModel"}
    return types.get(str(config.get("model_type")))


def _weights(place: _Place) -> Weights:
    found = next((file for file in _WEIGHTS if place.find(file) is not None), _WEIGHTS[0])
    if place.folder is not None:
        return Weights(file=str((place.folder / found).absolute()))
    page = f"https://huggingface.co/{place.repository}"
    return Weights(file=found, hub=place.repository, page=page)


def _preprocessing(place: _Place, vision: Mapping[str, Any], architecture: str) -> Preprocessing:
    config = place.read("preprocessor_config.json")
    if config is None:
        config = (place.read("processor_config.json") or {}).get("image_processor")
    if not isinstance(config, Mapping):
        config = _required(place, "preprocessor_config.json")
    try:
        made = _prepared(config)
    except (KeyError, TypeError, ValueError) as error:
        cause = f"lacks {error}" if isinstance(error, KeyError) else str(error)
        raise UserError(
            f"preprocessor_config.json of 'hf:{place.repository}' {cause}; supported are square RGB images, resized bicubic or "
            "bilinear, scaled to [0, 1] and normalised."
        ) from error
    side = vision["image_size"]
    free = architecture.startswith(("Dinov2", "DINOv3")) or vision.get("is_native", False)
    if not free and made.size != side:
        raise UserError(
            f"model 'hf:{place.repository}' is built for {side} pixels, its preprocessor_config.json gives {made.size}."
        )
    return made


def _prepared(config: Mapping[str, Any]) -> Preprocessing:
    for step in ("do_resize", "do_rescale", "do_normalize"):
        if not config.get(step, True):
            raise ValueError(f"has {step} off")
    for step in ("do_pad", "do_flip_channel_order", "do_pan_and_scan", "do_thumbnail"):
        if config.get(step):
            raise ValueError(f"asks for {step}")
    if not math.isclose(config.get("rescale_factor", 1 / 255), 1 / 255, rel_tol=1e-6):
        raise ValueError(f"scales pixels by {config['rescale_factor']}")
    interpolation = _INTERPOLATIONS.get(config["resample"])
    if interpolation is None:
        raise ValueError(f"resizes by filter {config['resample']}")
    size, rule, fraction = _sizes(config)
    mean, std = (_three(config[key]) for key in ("image_mean", "image_std"))
    return Preprocessing(size, rule, interpolation, mean, std, fraction)


def _sizes(config: Mapping[str, Any]) -> tuple[int, Literal["squash", "shortest-crop-floor"], float]:
    """Return the side, the rule and, for crops, which part of the resized shorter side the crop is."""
    size = config["size"]
    kind = str(config.get("image_processor_type") or config.get("feature_extractor_type") or "")
    if not isinstance(size, Mapping):  # before processors wrote down which side they mean
        size = {"shortest_edge": size} if kind.startswith("CLIP") else {"height": size, "width": size}
    cropped = config.get("do_center_crop")
    if "shortest_edge" not in size:
        if size["height"] != size["width"]:
            raise ValueError(f"resizes to {dict(size)}")
        if cropped and _square(config["crop_size"]) != size["height"]:
            raise ValueError(f"crops {config['crop_size']} out of {dict(size)}")
        return int(size["height"]), "squash", 1.0
    short = int(size["shortest_edge"])
    if not cropped:
        raise ValueError("keeps the aspect ratio without a crop")
    side = _square(config["crop_size"])
    if side > short:
        raise ValueError(f"crops {side} pixels out of {short}")
    fraction = side / short
    # The shorter side is found again by a division, which must not fall below the whole number.
    if math.floor(side / fraction) < short:
        fraction = math.nextafter(fraction, 0)
    return side, "shortest-crop-floor", fraction


def _square(size: Any) -> int:
    if isinstance(size, Mapping):
        if size["height"] != size["width"]:
            raise ValueError(f"crops to {dict(size)}")
        return int(size["height"])
    return int(size)


def _three(values: Any) -> tuple[float, float, float]:
    red, green, blue = (float(value) for value in values)
    return red, green, blue
