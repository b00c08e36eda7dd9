"""The one decoder of the project: bytes to pixels, and back to PNG.

Guarantees: the array holds what the file says, in RGB order and the right way up (EXIF orientation is
applied); 16-bit grey stays uint16; nothing is truncated to 8 bits, filled up or guessed. Every file that
cannot be read so is an :class:`~shards.adapter.UnreadableSample` with a reason: ``empty_file``,
``missing_image``, ``too_large``, ``decode_error``, ``unsupported_pixels``, ``window_missing``,
``mask_values``.

Scope: PNG, JPEG, TIFF and BMP with one 2D image. Transparency is dropped and the colour beneath it kept as
stored: radiographs exported with an alpha channel hold the image in their colour channels.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from shards.adapter import UnreadableSample

ImageArray = NDArray[np.uint8] | NDArray[np.uint16]

_FORMATS = ("PNG", "JPEG", "TIFF", "BMP")
_ORIENTATION = 0x0112
_PHOTOMETRIC = 262
_GREY16 = ("I;16", "I;16B", "I;16L", "I;16N")
#: Encoded by every conversion: stronger compression costs much time and gains little on images of living
#: things.
_PNG_LEVEL = 3


def read_bytes(path: Path, *, missing: str = "missing_image") -> bytes:
    """Read a raw file.

    Raises
    ------
    UnreadableSample
        With the reason `missing` if it is not there, ``decode_error`` if the system cannot read it.
    """
    try:
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        raise UnreadableSample(missing, f"file {path.name} does not exist") from None
    except OSError as error:
        raise UnreadableSample(
            "decode_error", f"file {path.name} cannot be read: {error.strerror}"
        ) from error


def read_image(path: Path) -> tuple[ImageArray, bytes | None]:
    """Read an image file for conversion.

    Returns
    -------
    image : ndarray
        As :func:`decode`.
    encoded : bytes or None
        As :func:`lossless_jpeg`: what can be stored instead of encoding the image anew.

    Raises
    ------
    UnreadableSample
        ``missing_image``, and as :func:`decode`.
    """
    data = read_bytes(path)
    pixels, plain = _decode(data)
    return pixels, _strip_metadata(data) if plain else None


def decode(data: bytes) -> ImageArray:
    """Decode an image.

    Parameters
    ----------
    data
        A whole PNG, JPEG, TIFF or BMP file.

    Returns
    -------
    ndarray
        ``[H, W]`` uint8 or uint16 for grey images, ``[H, W, 3]`` uint8 RGB otherwise.

    Raises
    ------
    UnreadableSample
        If the bytes are not such an image (see the module's text for the reasons).
    """
    return _decode(data)[0]


def _decode(data: bytes) -> tuple[ImageArray, bool]:
    """Decode an image, and tell whether it is a JPEG that holds exactly these pixels the right way up."""
    if not data:
        raise UnreadableSample("empty_file", "the file has no bytes")
    try:
        with Image.open(io.BytesIO(data), formats=_FORMATS) as image:
            _refuse_lossy(image)
            image.load()
            orientation = image.getexif().get(_ORIENTATION, 1)
            plain = _plain_jpeg(image) and orientation == 1
            return _upright(_pixels(image), orientation), plain
    except (UnreadableSample, MemoryError):
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise UnreadableSample("too_large", str(error)) from error
    except Exception as error:
        # Decoders raise anything on damaged bytes; the text of some holds an address, which differs from run
        # to run.
        known = "cannot identify image file" not in str(error)
        text = str(error) if known else "not an image of a known format"
        raise UnreadableSample("decode_error", text or type(error).__name__) from error


def _pixels(image: Image.Image) -> ImageArray:
    if image.mode in _GREY16 or image.mode == "I":
        return _grey16(image)
    if image.mode in ("L", "RGB"):
        return cast("NDArray[np.uint8]", np.asarray(image))
    if image.mode in ("1", "LA", "La"):
        return cast("NDArray[np.uint8]", np.asarray(image.convert("L")))
    if image.mode in ("P", "PA"):
        grey = _palette_is_grey(image)
        return cast("NDArray[np.uint8]", np.asarray(_without_alpha(image).convert("L" if grey else "RGB")))
    if image.mode in ("RGBA", "RGBX", "RGBa", "CMYK", "YCbCr"):
        return cast("NDArray[np.uint8]", np.asarray(_without_alpha(image).convert("RGB")))
    raise UnreadableSample("unsupported_pixels", f"pixels of kind {image.mode!r}; expected grey or RGB")


def read_mask(data: bytes) -> NDArray[np.uint8]:
    """Decode a label map: the grey values that a viewer would show.

    A palette of greys is looked up (so an inverted palette reads rightly); coloured label maps are refused,
    because neither their indices nor their brightness is known to be the label.

    Returns
    -------
    ndarray
        ``[H, W]`` uint8.

    Raises
    ------
    UnreadableSample
        As :func:`decode`, and ``mask_values`` for colours or values above 255.
    """
    pixels = decode(data)
    if pixels.ndim == 3:
        if (pixels != pixels[:, :, :1]).any():
            raise UnreadableSample(
                "mask_values", "the mask has colours; expected one grey value per structure"
            )
        pixels = pixels[:, :, 0]
    if pixels.dtype == np.uint16:
        if int(pixels.max()) > 255:
            raise UnreadableSample(
                "mask_values", f"the mask has the value {int(pixels.max())}; expected at most 255"
            )
        return pixels.astype(np.uint8)
    return cast("NDArray[np.uint8]", np.ascontiguousarray(pixels))


def fitting_size(shape: tuple[int, int], max_side: int | None) -> tuple[int, int]:
    """Return (height, width) with the longer side at most `max_side`; never larger than `shape`."""
    height, width = shape
    if max_side is None or max(shape) <= max_side:
        return height, width
    scale = max_side / max(shape)
    return max(1, round(height * scale)), max(1, round(width * scale))


def resize_image(image: ImageArray, size: tuple[int, int]) -> ImageArray:
    """Resize an image, bicubic with antialiasing; uint16 stays uint16.

    Parameters
    ----------
    image
        ``[H, W]`` or ``[H, W, 3]``.
    size
        (height, width) of the result.
    """
    if image.shape[:2] == size:
        return image
    to = (size[1], size[0])
    if image.dtype == np.uint16:
        resized = np.asarray(Image.fromarray(image.astype(np.float32)).resize(to, Image.Resampling.BICUBIC))
        return cast("NDArray[np.uint16]", np.clip(np.rint(resized), 0, 65535).astype(np.uint16))
    return cast("NDArray[np.uint8]", np.asarray(Image.fromarray(image).resize(to, Image.Resampling.BICUBIC)))


def resize_mask(mask: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """Resize a label map to (height, width) by nearest neighbour."""
    if mask.shape == size:
        return mask
    resized = Image.fromarray(mask).resize((size[1], size[0]), Image.Resampling.NEAREST)
    return cast("NDArray[np.uint8]", np.asarray(resized))


def to_rgb(image: ImageArray, window: tuple[float, float] | None) -> NDArray[np.uint8]:
    """Show an image as 8-bit RGB.

    Parameters
    ----------
    image
        ``[H, W]`` or ``[H, W, 3]``.
    window
        (low, high) intensities that become 0 and 255; values outside are clipped, never wrapped. Used for
        uint16 only.

    Returns
    -------
    ndarray
        ``[H, W, 3]`` uint8.

    Raises
    ------
    UnreadableSample
        ``window_missing`` for 16-bit pixels without a window.
    """
    if image.dtype == np.uint16:
        if window is None:
            raise UnreadableSample(
                "window_missing",
                "the pixels have 16 bits; the dataset must say which intensities to show (window)",
            )
        low, high = window
        scaled = (image.astype(np.float32) - low) * (255.0 / (high - low))
        image = np.clip(np.rint(scaled), 0, 255).astype(np.uint8)
    shown = image if image.ndim == 3 else np.repeat(image[:, :, None], 3, axis=2)
    return cast("NDArray[np.uint8]", np.ascontiguousarray(shown))


def encode_png(image: ImageArray) -> bytes:
    """Encode ``[H, W]`` uint8/uint16 or ``[H, W, 3]`` uint8 as PNG without loss and without metadata."""
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(image)).save(buffer, "PNG", compress_level=_PNG_LEVEL)
    return buffer.getvalue()


def lossless_jpeg(data: bytes) -> bytes | None:
    """Return a JPEG's own bytes without metadata, if they hold exactly what :func:`decode` gives.

    Comments, EXIF, XMP and colour profiles are left out (they may name the patient); the compressed pixels
    are untouched.

    Returns
    -------
    bytes or None
        None if this is no plain grey or YCbCr/RGB JPEG, or is stored turned.
    """
    if not data.startswith(b"\xff\xd8"):
        return None
    with Image.open(io.BytesIO(data), formats=("JPEG",)) as image:
        if not _plain_jpeg(image) or image.getexif().get(_ORIENTATION, 1) != 1:
            return None
    return _strip_metadata(data)


def _plain_jpeg(image: Image.Image) -> bool:
    return image.format == "JPEG" and image.mode in ("L", "RGB")


def _strip_metadata(data: bytes) -> bytes | None:
    """Leave out comments and all application data but JFIF and Adobe, which decoding needs."""
    kept = [data[:2]]
    position = 2
    while position + 4 <= len(data) and data[position] == 0xFF:
        marker = data[position + 1]
        if marker == 0xFF:  # fill byte
            position += 1
            continue
        if marker == 0xDA:
            return b"".join([*kept, data[position:]])
        end = position + 2 + int.from_bytes(data[position + 2 : position + 4], "big")
        if marker != 0xFE and (not 0xE0 <= marker <= 0xEF or marker in (0xE0, 0xEE)):
            kept.append(data[position:end])
        position = end
    return None


def _upright(pixels: ImageArray, orientation: int) -> ImageArray:
    """Turn pixels as the EXIF orientation says; an unknown one means none."""
    flipped = {2: (1,), 3: (0, 1), 4: (0,), 6: (0,), 7: (0, 1), 8: (1,)}.get(orientation, ())
    upright = np.flip(pixels, flipped)
    upright = upright.swapaxes(0, 1) if orientation in (5, 6, 7, 8) else upright
    return cast("ImageArray", np.ascontiguousarray(upright))


def _refuse_lossy(image: Image.Image) -> None:
    """Refuse what Pillow would read only in part: large images, several pages, colours of 16 bits."""
    limit = Image.MAX_IMAGE_PIXELS or 89_478_485
    if image.width * image.height > limit:
        raise UnreadableSample(
            "too_large", f"{image.width}x{image.height} pixels; at most {limit} pixels are read"
        )
    if image.format == "TIFF" and getattr(image, "n_frames", 1) > 1:
        raise UnreadableSample("unsupported_pixels", "the file has several pages; expected one 2D image")
    tiles = getattr(image, "tile", [])
    raw_modes = [tile.args if isinstance(tile.args, str) else tile.args[0] for tile in tiles]
    if image.format in ("PNG", "TIFF") and image.mode not in (*_GREY16, "I") and ";16" in str(raw_modes):
        raise UnreadableSample(
            "unsupported_pixels", "colours or transparency of 16 bits; expected 16-bit grey"
        )


def _grey16(image: Image.Image) -> NDArray[np.uint16]:
    values = np.asarray(image)
    if values.size and (int(values.min()) < 0 or int(values.max()) > 65535):
        raise UnreadableSample("unsupported_pixels", "intensities outside 0-65535; expected 8 or 16 bits")
    grey = values.astype(np.uint16)
    # Pillow turns "minimum is white" round for 8 bits only.
    white_first = image.format == "TIFF" and image.tag_v2.get(_PHOTOMETRIC) == 0  # type: ignore[attr-defined]
    return np.uint16(65535) - grey if white_first else grey


def _palette_is_grey(image: Image.Image) -> bool:
    indices = image.getchannel("P") if image.mode == "PA" else image
    used = np.flatnonzero(indices.histogram()[:256])
    colours = np.asarray(image.getpalette("RGB"), dtype=np.uint8).reshape(-1, 3)
    known = colours[used[used < len(colours)]]
    return bool((known == known[:, :1]).all())


def _without_alpha(image: Image.Image) -> Image.Image:
    """Forget transparency, so that converting keeps the stored colours."""
    if image.mode == "RGBa":
        return image.convert("RGBA")
    image.info.pop("transparency", None)
    return image
