import io

import imagehash
import numpy as np
import pytest
from PIL import Image

from shards.adapter import Pixels, Volume
from shards.card import DatasetCard
from shards.convert import ConvertOptions, convert
from shards.index import fingerprint
from shards.looks import Look, look
from shards.members import store
from shards.tar import MEMBERS

ONE = ConvertOptions(workers=1)


def card(**changes):
    return DatasetCard("mine", "1", "any", "CC0", "here", **changes)


def scene(seed=0, shape=(150, 200)):
    """A smooth picture with structure, as photographs have it."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (9, 12, 3), dtype=np.uint8))
    return np.asarray(coarse.resize((shape[1], shape[0]), Image.Resampling.BICUBIC))


def bits_apart(one, other):
    return (int(one, 16) ^ int(other, 16)).bit_count()


def looked(pixels, **changes):
    return look(pixels, card(**changes), volume=False)


@pytest.mark.parametrize("seed", range(20))
def test_perceptual_hash_is_that_of_imagehash_up_to_a_few_bits(seed):
    pixels = scene(seed)
    mine = looked(pixels)
    assert bits_apart(mine.phash, str(imagehash.phash(Image.fromarray(pixels)))) <= 4
    grey = Image.fromarray(pixels).convert("L")
    thumbnail = grey.resize((64, 64), Image.Resampling.BILINEAR, reducing_gap=2.0)
    assert mine.phash_fine == str(imagehash.phash(thumbnail, hash_size=16))
    assert (len(mine.phash), len(mine.phash_fine)) == (16, 64)


@pytest.mark.parametrize("change", ["half", "double", "jpeg", "brighter", "grey"])
def test_a_picture_that_was_saved_again_keeps_its_hash_and_not_its_pixels(change):
    pixels = scene(3)
    image = Image.fromarray(pixels)
    if change == "jpeg":
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", quality=60)
        image = Image.open(buffer)
    elif change == "brighter":
        image = Image.fromarray(np.clip(pixels * 1.05 + 4, 0, 255).astype(np.uint8))
    elif change == "grey":
        image = image.convert("L")
    else:
        scale = {"half": 0.5, "double": 2}[change]
        image = image.resize((int(200 * scale), int(150 * scale)), Image.Resampling.BICUBIC)
    before, after = looked(pixels), looked(np.asarray(image))
    assert bits_apart(before.phash, after.phash) <= 4
    assert bits_apart(before.phash_fine, after.phash_fine) <= 20
    assert before.pixels_sha256 != after.pixels_sha256


def test_other_pictures_have_other_hashes():
    looks = [looked(scene(seed)) for seed in range(12)]
    apart = [bits_apart(a.phash_fine, b.phash_fine) for n, a in enumerate(looks) for b in looks[:n]]
    assert min(apart) > 60


@pytest.mark.parametrize(
    "pixels",
    [
        np.zeros((30, 40), np.uint8),
        np.full((30, 40, 3), 255, np.uint8),
        np.full((9, 9), 3000, np.uint16),
        np.array([[7, 8], [8, 9]], np.uint8),
    ],
)
def test_blank_pictures_have_no_hash_to_compare(pixels):
    mine = looked(pixels, window=(0.0, 65535.0))
    assert mine.phash is None
    assert mine.phash_fine is None
    assert mine.pixels_sha256


def test_pixels_differ_by_one_value_by_shape_or_by_kind():
    pixels = scene()[:, :, 0].copy()
    changed = pixels.copy()
    changed[0, 0] ^= 1
    others = (changed, pixels.T, pixels.reshape(200, 150), pixels.astype(np.uint16))
    hashes = {looked(other, window=(0.0, 255.0)).pixels_sha256 for other in (pixels, *others)}
    assert len(hashes) == 5
    assert looked(np.asfortranarray(pixels)).pixels_sha256 == looked(pixels).pixels_sha256


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.int16, np.float32])
def test_intensities_are_those_of_all_stored_voxels(kind):
    limits = (0, 255) if kind is np.uint8 else (-900, 30_000) if kind is not np.uint16 else (0, 65_000)
    voxels = np.random.default_rng(1).uniform(*limits, (5, 11, 13)).astype(kind)
    mine = look(voxels, card(window=(-100.0, 100.0)), volume=True)
    assert mine.intensity_mean == pytest.approx(voxels.astype(np.float64).mean(), rel=1e-9)
    assert mine.intensity_sd == pytest.approx(voxels.astype(np.float64).std(), rel=1e-9)


def test_intensities_of_colours_are_over_all_channels():
    pixels = scene(5)
    mine = looked(pixels)
    assert mine.intensity_mean == pytest.approx(pixels.mean(), rel=1e-12)
    assert mine.intensity_sd == pytest.approx(pixels.std(), rel=1e-9)


def test_a_volume_is_hashed_whole_and_looked_at_in_its_middle_slice():
    volume = np.stack([scene(seed, (40, 3))[:, :, 0] for seed in range(5)])  # three columns are no colours
    for place in (0, 2):
        changed = volume.copy()
        changed[place] = 255 - changed[place]
        before, after = (look(voxels, card(), volume=True) for voxels in (volume, changed))
        assert before.pixels_sha256 != after.pixels_sha256
        assert (before.phash == after.phash) == (place == 0)


def test_sizes_before_max_side_are_kept_and_looks_are_taken_after_it():
    stored = store(Pixels(scene()), card(), 50)
    assert (stored.height, stored.width) == (38, 50)
    assert (stored.original_height, stored.original_width) == (150, 200)
    shrunk = np.asarray(Image.open(io.BytesIO(stored.files["image.png"])))
    assert stored.look == looked(shrunk)
    volume = store(Volume(np.stack([scene()[:, :, 0]] * 3)), card(), 50)
    assert (volume.depth, volume.height, volume.original_height, volume.original_width) == (3, 38, 150, 200)


def test_looks_are_in_the_index_and_neither_in_tars_nor_in_the_fingerprint(many, tmp_path):
    dataset = convert(many.adapter(), tmp_path / "out", ONE)
    rows = dataset.index.to_pylist()
    names = list(vars(looked(scene())))
    assert len(names) == 5
    assert all(row[name] is not None for row in rows for name in names)
    data = b"".join((dataset.path / "shards" / shard.name).read_bytes() for shard in dataset.shards)
    assert rows[0]["sample_id"].encode() in data
    assert not any(name.encode() in data for name in names)
    same = fingerprint(dataset.card, [{**row, **vars(Look("x", "x", "x", 0.0, 0.0))} for row in rows])
    assert same == fingerprint(dataset.card, rows)
    assert fingerprint(dataset.card, [{**row, "original_width": 1} for row in rows]) != same


def test_a_tar_may_hold_what_members_are_made_of():
    image, mask = np.zeros((2, 3, 4), np.int16), np.zeros((2, 3, 4), np.uint8)
    stored = store(Volume(image, mask=mask), card(window=(0.0, 1.0)), None)
    assert set(stored.files) == {"image.npy", "mask.npy"}
    assert set(stored.files) <= set(MEMBERS)
