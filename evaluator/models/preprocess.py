"""Bring an image to the square its weights want, and a prompt to the same pixels.

Guarantee: the pixels equal those of the publishers' own evaluation transforms (torchvision's `Resize` and
`CenterCrop` on Pillow images, segment-anything's `ResizeLongestSide`), because the same Pillow filters run on
the same integer sizes. Pixels stay uint8 until they are on the model's device: four times less to move.
Trade-off: padding can only become zero *after* normalisation, so :func:`normalise` needs to know where each
image ends (its frame).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from evaluator.models.card import Preprocessing
from evaluator.models.interfaces import Frames, MaskPrompt
from shards.errors import UserError

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor


class Framed(NamedTuple):
    """One preprocessed image.

    Attributes
    ----------
    pixels
        ``[3, S, S]`` uint8 RGB.
    frame
        (height, width) of the image inside the square, from its top left corner; (S, S) when nothing is
        padded.
    """

    pixels: NDArray[np.uint8]
    frame: tuple[int, int]


class Preprocessor:
    """The pixel part of a card's preprocessing. Picklable, no torch.

    Parameters
    ----------
    preprocessing
        As the model's card says.
    """

    def __init__(self, preprocessing: Preprocessing) -> None:
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
        height, width = image.shape[:2]
        size = self.preprocessing.size
        resized = np.asarray(self._resize(image, _resized(self.preprocessing, height, width)))
        if self.preprocessing.resize == "longest-pad":
            square = np.zeros((size, size, 3), dtype=np.uint8)
            square[: resized.shape[0], : resized.shape[1]] = resized
            return Framed(_channels_first(square), (resized.shape[0], resized.shape[1]))
        top, left = _crop_start(resized.shape[0], size), _crop_start(resized.shape[1], size)
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
            If the preprocessing crops: a prompt could lie outside of what the model sees.
        """
        if self.preprocessing.resize == "shortest-crop":
            raise UserError(
                "spatial prompts need preprocessing that keeps the whole image ('squash' or 'longest-pad'), "
                "got 'shortest-crop'. Give the segmenter's card one of these."
            )
        height, width = original
        new_height, new_width = _resized(self.preprocessing, height, width)
        across, down = new_width / width, new_height / height
        points = tuple((x * across, y * down) for x, y in prompt.points)
        if prompt.box is None:
            return MaskPrompt(points=points)
        x0, y0, x1, y1 = prompt.box
        return MaskPrompt(points=points, box=(x0 * across, y0 * down, x1 * across, y1 * down))

    def _resize(self, image: NDArray[np.uint8], target: tuple[int, int]) -> Image:
        from PIL import Image
        from PIL.Image import Resampling

        filters = {"bicubic": Resampling.BICUBIC, "bilinear": Resampling.BILINEAR}
        return Image.fromarray(image).resize(target[::-1], filters[self.preprocessing.interpolation])


def _resized(preprocessing: Preprocessing, height: int, width: int) -> tuple[int, int]:
    """Return (height, width) after resizing, before any crop or padding."""
    size = preprocessing.size
    if preprocessing.resize == "squash":
        return size, size
    if preprocessing.resize == "longest-pad":
        # segment-anything rounds halves up.
        scale = size / max(height, width)
        return max(1, int(height * scale + 0.5)), max(1, int(width * scale + 0.5))
    # torchvision cuts off the fraction of the longer side.
    short = math.floor(size / preprocessing.crop_fraction)
    if height <= width:
        return short, int(short * width / height)
    return int(short * height / width), short


def _crop_start(length: int, size: int) -> int:
    return round((length - size) / 2.0)  # halves to even, as torchvision's CenterCrop


def _channels_first(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
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
