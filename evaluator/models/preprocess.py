"""Bring an image to the square its weights want, and a prompt to the same pixels.

Guarantee: the pixels equal those of the publishers' own evaluation transforms (torchvision's `Resize` and
`CenterCrop` on Pillow images, segment-anything's `ResizeLongestSide`, OpenCV's `INTER_AREA`), because the same filters run on
the same integer sizes. Pixels stay uint8 until they are on the model's device: four times less to move.
Trade-off: padding can only become zero *after* normalisation, so :func:`normalise` needs to know where each
image ends (its frame).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from evaluator.models.area import resize_area
from evaluator.models.card import Preprocessing
from evaluator.models.interfaces import Frames, MaskPrompt
from shards.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

#: Resize rules after which a prompt's place follows from the scale alone.
_WHOLE = ("squash", "longest-pad")


class Framed(NamedTuple):
    """One preprocessed image.

    Attributes
    ----------
    pixels
        ``[3, S, S]`` uint8 RGB.
    frame
        (height, width) of the image inside the square, from its top left corner; (S, S) when nothing is
        padded, or padded by black pixels that count as the image's own.
    """

    pixels: NDArray[np.uint8]
    frame: tuple[int, int]


class Preprocessor:
    """The pixel part of a card's preprocessing. Picklable, no torch.

    Parameters
    ----------
    preprocessing
        As the model's card says.

    Raises
    ------
    ValueError
        If colour images are to be resized by area.
    """

    def __init__(self, preprocessing: Preprocessing) -> None:
        if preprocessing.interpolation == "area" and preprocessing.colour != "gray":
            raise ValueError(f"interpolation 'area' is for gray images, got colour {preprocessing.colour!r}")
        self.preprocessing = preprocessing

    def __call__(self, image: NDArray[np.uint8]) -> Framed:
        """Resize, then crop or pad, one image.

        Parameters
        ----------
        image
            ``[H, W, 3]`` uint8 RGB.

        Raises
        ------
        ValueError
            If the array is of another shape or type, or empty.
        """
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or image.size == 0:
            raise ValueError(f"image must be [H, W, 3] uint8, got {list(image.shape)} {image.dtype}")
        size, rule = self.preprocessing.size, self.preprocessing.resize
        pixels = _luminance(image) if self.preprocessing.colour == "gray" else image
        if rule == "pad-square":
            pixels = _centred(pixels, max(size, *pixels.shape[:2]))
        resized = self._resize(pixels, _resized(self.preprocessing, *pixels.shape[:2]))
        if rule == "longest-pad":
            square = np.zeros((size, size, *resized.shape[2:]), dtype=np.uint8)
            square[: resized.shape[0], : resized.shape[1]] = resized
            return Framed(_channels_first(square), (resized.shape[0], resized.shape[1]))
        if rule == "longest-pad-crop":
            resized = _centred(resized, max(resized.shape[:2]))
        start = _crop_start_floor if rule == "shortest-crop-floor" else _crop_start
        top, left = start(resized.shape[0], size), start(resized.shape[1], size)
        return Framed(_channels_first(resized[top : top + size, left : left + size]), (size, size))

    def map_prompt(self, prompt: MaskPrompt, original: tuple[int, int]) -> MaskPrompt:
        """Move a prompt from the original image's pixels to the frame's, by the scale the image went through.

        Parameters
        ----------
        prompt
            Points and box in (x, y) pixels of the original image.
        original
            (height, width) of the original image.

        Raises
        ------
        UserError
            If the preprocessing crops, so that a prompt could lie outside of what the model sees, or moves the image from
            the top left corner, where masks are expected.
        """
        if self.preprocessing.resize not in _WHOLE:
            raise UserError(
                "spatial prompts need preprocessing that keeps the whole image ('squash' or 'longest-pad'), "
                f"got {self.preprocessing.resize!r}. Give the segmenter's card one of these."
            )
        height, width = original
        new_height, new_width = _resized(self.preprocessing, height, width)
        across, down = new_width / width, new_height / height
        points = tuple((x * across, y * down) for x, y in prompt.points)
        if prompt.box is None:
            return MaskPrompt(points=points)
        x0, y0, x1, y1 = prompt.box
        return MaskPrompt(points=points, box=(x0 * across, y0 * down, x1 * across, y1 * down))

    def _resize(self, image: NDArray[np.uint8], target: tuple[int, int]) -> NDArray[np.uint8]:
        from PIL import Image
        from PIL.Image import Resampling

        if self.preprocessing.interpolation == "area":
            return resize_area(image, *target)
        filters = {"bicubic": Resampling.BICUBIC, "bilinear": Resampling.BILINEAR}
        made = Image.fromarray(image).resize(target[::-1], filters[self.preprocessing.interpolation])
        return np.asarray(made)


def _resized(preprocessing: Preprocessing, height: int, width: int) -> tuple[int, int]:
    """Return (height, width) after resizing, before any crop and before any padding that comes after it."""
    size = preprocessing.size
    if preprocessing.resize in ("squash", "pad-square"):
        return size, size
    if preprocessing.resize == "longest-pad":
        # segment-anything rounds halves up.
        scale = size / max(height, width)
        return max(1, int(height * scale + 0.5)), max(1, int(width * scale + 0.5))
    side = math.floor(size / preprocessing.crop_fraction)
    if preprocessing.resize == "longest-pad-crop":
        # GLoRIA multiplies by the rounded quotient and cuts off: a square may lose a row to it, as there.
        if height >= width:
            return side, max(1, int(width * (side / height)))
        return max(1, int(height * (side / width))), side
    # torchvision cuts off the fraction of the longer side.
    if height <= width:
        return side, int(side * width / height)
    return int(side * height / width), side


def _crop_start(length: int, size: int) -> int:
    return round((length - size) / 2.0)  # halves to even, as torchvision's CenterCrop


def _crop_start_floor(length: int, size: int) -> int:
    return (length - size) // 2  # as the image processors of transformers


def _luminance(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    from PIL import Image

    return np.asarray(Image.fromarray(image).convert("L"))


def _centred(image: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """Put an image into the middle of a black square; an odd pixel of padding goes to the bottom or right."""
    height, width = image.shape[:2]
    top, left = (side - height) // 2, (side - width) // 2
    square = np.zeros((side, side, *image.shape[2:]), dtype=np.uint8)
    square[top : top + height, left : left + width] = image
    return square


def _channels_first(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return ``[3, H, W]`` of ``[H, W, 3]``, or of ``[H, W]`` three times."""
    if image.ndim == 2:
        return np.repeat(image[None], 3, axis=0)
    return np.ascontiguousarray(image.transpose(2, 0, 1))


def normalise(images: Tensor, preprocessing: Preprocessing, frames: Frames = None) -> Tensor:
    """Turn uint8 pixels into what the network takes, on the device where they are.

    Parameters
    ----------
    images
        ``[B, 3, S, S]`` uint8.
    preprocessing
        Gives mean and standard deviation per channel, for pixels in [0, 1].
    frames
        (height, width) of each image in its square; everything outside becomes exactly 0. None: no padding.

    Returns
    -------
    Tensor
        ``[B, 3, S, S]`` float32.

    Raises
    ------
    ValueError
        If the batch has another shape or type, or the frames are not one per image.
    """
    import torch

    size = preprocessing.size
    if images.dtype != torch.uint8 or images.ndim != 4 or tuple(images.shape[1:]) != (3, size, size):
        raise ValueError(
            f"images must be [B, 3, {size}, {size}] uint8, got {list(images.shape)} {images.dtype}; "
            "make them with this model's Preprocessor"
        )
    mean = torch.tensor(preprocessing.mean, device=images.device).view(1, 3, 1, 1)
    std = torch.tensor(preprocessing.std, device=images.device).view(1, 3, 1, 1)
    normal = images.to(torch.float32).div(255).sub(mean).div(std)
    if frames is None:
        return normal
    if len(frames) != images.shape[0]:
        raise ValueError(
            f"frames must be one (height, width) per image ({images.shape[0]}), got {len(frames)}"
        )
    ends = torch.tensor(frames, device=images.device)
    steps = torch.arange(size, device=images.device)
    inside = (steps[None, :, None] < ends[:, 0, None, None]) & (steps[None, None, :] < ends[:, 1, None, None])
    return torch.where(inside[:, None], normal, torch.zeros((), device=images.device))
