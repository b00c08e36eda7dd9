"""What is known of a model before it is loaded. No torch here: listing models costs nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Ability = Literal["encode", "text", "segment"]


@dataclass(frozen=True)
class Preprocessing:
    """How the weights want their images. Belongs to the weights, never to the dataset.

    Attributes
    ----------
    size
        Side of the square the model sees, in pixels.
    resize
        ``"shortest-crop"``: shorter side to ``floor(size / crop_fraction)``, then centre crop;
        ``"shortest-crop-floor"``: the same, but where the margin is odd the crop starts half a pixel before the centre, as in
        transformers (``"shortest-crop"`` rounds halves to even, as torchvision does);
        ``"squash"``: both sides to `size`, aspect ratio lost;
        ``"longest-pad"``: longer side to `size`, zero padding (after normalisation) at bottom and right;
        ``"pad-square"``: black pixels around the image to a square of its longer side and at least of `size`, then that square
        to `size` (black is a pixel value here: it is normalised as the others are);
        ``"longest-pad-crop"``: longer side to ``floor(size / crop_fraction)``, black pixels around the image to that square,
        then centre crop.
    interpolation
        ``"bicubic"`` or ``"bilinear"`` (Pillow, antialiased), or ``"area"`` (OpenCV's, for gray images only).
    mean, std
        Per RGB channel, for pixels scaled to [0, 1].
    crop_fraction
        Only for the rules that crop.
    colour
        ``"rgb"``, or ``"gray"``: luminance alone (Pillow's ``L``) before anything else, and three times the same at the end.
    """

    size: int
    resize: Literal[
        "shortest-crop", "shortest-crop-floor", "squash", "longest-pad", "pad-square", "longest-pad-crop"
    ]
    interpolation: Literal["bicubic", "bilinear", "area"]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    crop_fraction: float = 1.0
    colour: Literal["rgb", "gray"] = "rgb"


@dataclass(frozen=True)
class WeightsFile:
    """One file of weights that are published in several.

    Attributes
    ----------
    file
        Its name. An other file is looked for beside the first, then wherever the first is.
    sha256
        Hash it must have; None when the publisher gives none.
    page
        Where a person gets it; None when where the first file is.
    """

    file: str
    sha256: str | None = None
    page: str | None = None


@dataclass(frozen=True)
class Weights:
    """Where a model's weights come from, and which bytes they must be.

    Attributes
    ----------
    file
        File name looked for in the weights folders, or an absolute path; None when only the hub has it.
    hub
        Hugging Face repository, e.g. ``"timm/vit_base_patch14_dinov2.lvd142m"``; None when there is none.
    revision
        Pinned revision of the repository.
    sha256
        Hash the file must have; None when the publisher gives none (the hash found is then recorded in every
        task).
    page
        Where a person gets it.
    gated
        Whether the publisher asks for an agreement first.
    shipped
        Whether the file is part of this package.
    others
        The files beside the first that the weights need as well. Where `file` is an index of several
        (``model.safetensors.index.json``), those it lists are added by themselves.
    part
        What the names of the model's tensors start with, where the weights hold more than the model (a vision tower inside a
        language model); empty for all.
    """

    file: str | None = None
    hub: str | None = None
    revision: str | None = None
    sha256: str | None = None
    page: str | None = None
    gated: bool = False
    shipped: bool = False
    others: tuple[WeightsFile, ...] = ()
    part: str = ""


@dataclass(frozen=True)
class TokenizerFile:
    """The file by which a text tower turns texts into tokens. Only zero-shot needs it; image features do without.

    Attributes
    ----------
    file
        ``"tokenizer.json"`` (the tokenizers library's own), or ``"vocab.txt"`` (word pieces of BERT, lower case).
    hub, revision
        Repository that has it, and its pinned revision; often another than that of the weights. None when no hub has it.
    address
        Where it is when no hub has it.
    """

    file: str
    hub: str | None
    revision: str | None = None
    address: str | None = None

    @property
    def page(self) -> str:
        """Where a person gets it."""
        return self.address or f"https://huggingface.co/{self.hub}"


@dataclass(frozen=True)
class ModelCard:
    """A registry entry.

    Attributes
    ----------
    name, aliases
        Kebab-case name, and other names that are accepted for it.
    family
        Which loader builds it: ``"openclip"``, ``"timm"``, ``"sam"`` or a plug-in's.
    architecture
        The family's own name of the architecture.
    weights, preprocessing, licence
        See there.
    tokenizer
        File of the text tower's tokenizer; None where the family's library ships it, and without a text tower.
    abilities
        ``"encode"`` (probes), ``"text"`` (zero-shot), ``"segment"`` (prompted segmentation).
    feature, dimension
        Which layer `encode` gives, and its length.
    projected
        Length of the features shared with text, all vectors of an image together; None without a text tower.
    prompts
        Spatial prompts it was made for, of ``center``, ``rand``, ``rands``, ``bbox``.
    mask_threshold
        Logit above which a pixel belongs to the mask.
    context_length
        Longest text in tokens.
    trained_on
        Datasets (names of this project where they exist) seen in training: contamination.
    gflops
        Cost of one image through the image encoder, for planning.
    options
        Keyword arguments of the family's builder.
    notes
        What a reader of results must know, one sentence each.
    """

    name: str
    family: str
    architecture: str
    weights: Weights
    preprocessing: Preprocessing
    licence: str
    abilities: frozenset[Ability]
    feature: str
    dimension: int
    projected: int | None = None
    prompts: tuple[str, ...] = ()
    mask_threshold: float | None = None
    context_length: int | None = None
    tokenizer: TokenizerFile | None = None
    trained_on: tuple[str, ...] = ()
    gflops: float = 0.0
    aliases: tuple[str, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def identity(self) -> dict[str, Any]:
        """Return what of the card can change a result (goes into a task's hash, beside the weights' hash)."""
        card = asdict(self)
        if self.preprocessing.colour == "rgb":
            del card["preprocessing"][
                "colour"
            ]  # younger than the others: results made before it keep their hash
        kept = (
            "family",
            "architecture",
            "preprocessing",
            "feature",
            "mask_threshold",
            "context_length",
            "options",
        )
        part = {"part": self.weights.part} if self.weights.part else {}
        return {**{key: card[key] for key in kept}, **part}
