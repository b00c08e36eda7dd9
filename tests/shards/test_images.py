import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from shards.adapter import UnreadableSample
from shards.images import (
    decode,
    encode_png,
    fitting_size,
    lossless_jpeg,
    read_bytes,
    read_mask,
    resize_image,
    to_rgb,
)

RAMP = np.arange(200, dtype=np.uint8).reshape(10, 20)
COLOUR = np.random.default_rng(0).integers(0, 256, (10, 20, 3), dtype=np.uint8)
GREY16 = (np.arange(200, dtype=np.uint16) * 300).reshape(10, 20)


def saved(image, kind="PNG", **options):
    image = image if isinstance(image, Image.Image) else Image.fromarray(image)
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def reason(data, read=decode):
    with pytest.raises(UnreadableSample) as caught:
        read(data)
    return caught.value.reason


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "BMP"])
@pytest.mark.parametrize("pixels", [RAMP, COLOUR], ids=["grey", "colour"])
def test_lossless_formats_come_back_as_they_were(kind, pixels):
    assert np.array_equal(decode(saved(pixels, kind)), pixels)


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_16_bit_grey_keeps_every_bit(kind):
    read = decode(saved(GREY16, kind))
    assert read.dtype == np.uint16
    assert np.array_equal(read, GREY16)


def test_16_bit_tiff_with_white_as_zero_is_turned_round():
    data = saved(GREY16, "TIFF", tiffinfo={262: 0})
    assert np.array_equal(decode(data), 65535 - GREY16)


def test_32_bit_grey_is_read_if_it_fits_16_bits_and_refused_otherwise():
    assert np.array_equal(decode(saved(Image.fromarray(GREY16.astype(np.int32)), "TIFF")), GREY16)
    assert reason(saved(Image.fromarray(GREY16.astype(np.int32) * 9), "TIFF")) == "unsupported_pixels"
    assert reason(saved(Image.fromarray(-GREY16.astype(np.int32)), "TIFF")) == "unsupported_pixels"
    assert reason(saved(Image.fromarray(GREY16.astype(np.float32)), "TIFF")) == "unsupported_pixels"


def test_alpha_is_dropped_and_the_colour_beneath_kept():
    alpha = np.full((10, 20, 1), 0, np.uint8)
    assert np.array_equal(decode(saved(np.concatenate([COLOUR, alpha], axis=2))), COLOUR)
    assert np.array_equal(decode(saved(np.stack([RAMP, RAMP * 0], axis=2))), RAMP)


def test_palette_images_are_looked_up():
    palette = Image.fromarray(RAMP).convert("P")
    palette.putpalette([value for grey in range(255, -1, -1) for value in (grey, grey, grey)])
    assert np.array_equal(decode(saved(palette)), 255 - RAMP)
    coloured = Image.fromarray(COLOUR).quantize(16)
    assert np.array_equal(decode(saved(coloured)), np.asarray(coloured.convert("RGB")))


def test_palette_with_transparency_keeps_its_colours():
    palette = Image.fromarray(RAMP % 3).convert("P")
    palette.putpalette([10, 20, 30, 40, 50, 60, 70, 80, 90])
    data = saved(palette, transparency=bytes([0, 128, 255]))
    colours = np.array([[10, 20, 30], [40, 50, 60], [70, 80, 90]], np.uint8)
    assert np.array_equal(decode(data), colours[RAMP % 3])


def test_one_bit_images_are_black_and_white():
    data = saved(Image.fromarray(RAMP > 99))
    assert np.array_equal(decode(data), np.where(RAMP > 99, 255, 0))


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "JPEG"])
@pytest.mark.parametrize("orientation", range(10))
def test_orientation_is_honoured(kind, orientation):
    image = Image.fromarray(COLOUR)
    exif = image.getexif()
    exif[0x0112] = orientation
    data = saved(image, kind, exif=exif)
    expected = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))))
    assert np.array_equal(decode(data), expected)


def png(width, height, depth, colour_type, data):
    """A PNG of a kind that Pillow cannot write."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, depth, colour_type, 0, 0, 0)
    start = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header)
    return start + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")


def png16(colour_type, channels):
    return png(4, 3, 16, colour_type, b"".join(b"\0" + b"\1\2" * 4 * channels for _ in range(3)))


@pytest.mark.parametrize(("colour_type", "channels"), [(2, 3), (4, 2), (6, 4)])
def test_16_bit_colours_are_refused_rather_than_cut_to_8(colour_type, channels):
    assert reason(png16(colour_type, channels)) == "unsupported_pixels"
    assert decode(png16(0, 1)).dtype == np.uint16


def test_several_pages_are_refused():
    pages = saved(RAMP, "TIFF", save_all=True, append_images=[Image.fromarray(RAMP)])
    assert reason(pages) == "unsupported_pixels"


def test_empty_and_foreign_files_are_refused_with_a_reason():
    assert reason(b"") == "empty_file"
    assert reason(b"not a picture") == "decode_error"
    assert reason(saved(COLOUR, "GIF")) == "decode_error"


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "BMP"])
def test_cut_off_files_are_refused(kind):
    data = saved(np.random.default_rng(1).integers(0, 256, (64, 64, 3), dtype=np.uint8), kind)
    for length in (1, 10, len(data) // 2, len(data) * 9 // 10):
        assert reason(data[:length]) == "decode_error"


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(["PNG", "JPEG", "TIFF", "BMP"]), st.integers(0, 10**6), st.integers(1, 255))
def test_a_flipped_byte_gives_pixels_or_a_reason_and_nothing_else(kind, place, change):
    data = bytearray(saved(COLOUR, kind))
    data[place % len(data)] ^= change
    try:
        outcome = decode(bytes(data)).dtype.name
    except UnreadableSample as error:
        outcome = error.reason
    assert outcome in {"uint8", "uint16", "decode_error", "unsupported_pixels", "too_large"}


@pytest.mark.parametrize("side", [10_000, 60_000])
def test_decompression_bombs_are_refused_before_they_are_decoded(side):
    assert reason(png(side, side, 8, 2, b"\0" * 100)) == "too_large"


def test_error_texts_do_not_differ_from_run_to_run():
    texts = set()
    for _ in range(3):
        with pytest.raises(UnreadableSample) as caught:
            decode(b"nonsense")
        texts.add(caught.value.detail)
    assert len(texts) == 1


def test_missing_and_unreadable_files_have_their_reasons(tmp_path):
    with pytest.raises(UnreadableSample, match=r"missing_image: file a.png does not exist"):
        read_bytes(tmp_path / "a.png")
    with pytest.raises(UnreadableSample, match="decode_error"):
        read_bytes(tmp_path)


def test_masks_are_read_as_a_viewer_shows_them():
    mask = np.where(RAMP > 99, 255, 0).astype(np.uint8)
    inverted = Image.fromarray((mask == 0).astype(np.uint8)).convert("P")
    inverted.putpalette([255, 255, 255, 0, 0, 0])
    assert np.array_equal(read_mask(saved(inverted)), mask)
    assert np.array_equal(read_mask(saved(mask > 0)), mask)
    assert np.array_equal(read_mask(saved(np.repeat(mask[:, :, None], 3, axis=2))), mask)
    assert np.array_equal(read_mask(saved(mask.astype(np.uint16))), mask)


def test_masks_of_unclear_meaning_are_refused():
    coloured = Image.fromarray(RAMP % 3).convert("P")
    coloured.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0])
    assert reason(saved(coloured), read_mask) == "mask_values"
    assert reason(saved(COLOUR), read_mask) == "mask_values"
    assert reason(saved(GREY16), read_mask) == "mask_values"


@pytest.mark.parametrize("pixels", [RAMP, COLOUR, GREY16], ids=["grey", "colour", "16 bit"])
def test_png_loses_nothing(pixels):
    assert np.array_equal(decode(encode_png(pixels)), pixels)


@given(st.integers(1, 3000), st.integers(1, 3000), st.integers(1, 2000))
def test_resizing_keeps_the_ratio_and_never_enlarges(height, width, side):
    new_height, new_width = fitting_size((height, width), side)
    assert 1 <= new_height <= height
    assert 1 <= new_width <= width
    assert max(new_height, new_width) == min(side, max(height, width))
    assert abs(new_height - height * max(new_height, new_width) / max(height, width)) <= 1


def test_resizing_averages_over_what_it_leaves_out():
    stripes = np.tile(np.array([0, 255], np.uint8), (64, 32))
    small = resize_image(stripes, (16, 16))
    assert small.shape == (16, 16)
    assert abs(float(small[:, 2:-2].mean()) - 127.5) < 3
    assert np.ptp(small[:, 2:-2]) < 10


def test_resizing_16_bit_keeps_16_bit_and_clips():
    edge = np.zeros((40, 40), np.uint16)
    edge[:, 20:] = 65535
    small = resize_image(edge, (10, 10))
    assert small.dtype == np.uint16
    assert small[0, 0] == 0
    assert small[0, 9] == 65535


def test_window_maps_clips_and_never_wraps():
    values = np.array([[0, 1000, 2000, 3000, 65535]], np.uint16)
    shown = to_rgb(values, (1000, 3000))
    assert shown.shape == (1, 5, 3)
    assert shown[0, :, 0].tolist() == [0, 0, 128, 255, 255]
    assert np.array_equal(to_rgb(RAMP, (1000, 3000))[:, :, 1], RAMP)


def test_16_bit_without_window_is_refused():
    assert reason(GREY16, lambda pixels: to_rgb(pixels, None)) == "window_missing"


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 0}, {"optimize": True}])
def test_kept_jpeg_has_the_same_pixels_and_no_metadata(options):
    image = Image.fromarray(COLOUR)
    exif = image.getexif()
    exif[0x010E] = "Jane Doe"
    data = saved(image, "JPEG", exif=exif, comment=b"born 1950", icc_profile=b"made by Jane", **options)
    kept = lossless_jpeg(data)
    assert np.array_equal(decode(kept), decode(data))
    assert b"Jane" not in kept
    assert b"1950" not in kept
    assert lossless_jpeg(kept) == kept


def test_jpegs_that_decode_to_something_else_are_not_kept():
    turned = Image.fromarray(COLOUR)
    exif = turned.getexif()
    exif[0x0112] = 6
    assert lossless_jpeg(saved(turned, "JPEG", exif=exif)) is None
    assert lossless_jpeg(saved(turned.convert("CMYK"), "JPEG")) is None
    assert lossless_jpeg(saved(turned)) is None
    grey = lossless_jpeg(saved(RAMP, "JPEG"))
    assert np.array_equal(decode(grey), decode(saved(RAMP, "JPEG")))
