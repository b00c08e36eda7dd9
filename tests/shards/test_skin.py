"""Skin tone estimated from photographs, against published coordinates of colours and angles worked out by hand."""

import math

import numpy as np
import pytest
from replicas.ham10000 import make

from shards.convert import ConvertOptions, convert
from shards.datasets import make_adapter
from shards.skin import lab, skin_by_colour, typology_angle

LIGHT, DARK, LESION = (240, 205, 185), (92, 62, 44), (60, 20, 90)


def photograph(tone, shape=(40, 60)):
    """Skin of one tone with a lesion in the middle."""
    image = np.full((*shape, 3), tone, np.uint8)
    lesion = np.zeros(shape, bool)
    lesion[10:30, 20:40] = True
    image[lesion] = LESION
    return image, lesion


@pytest.mark.parametrize(
    ("colour", "known"),  # of the D65 white, as tables of the sRGB primaries give them
    [
        ((255, 255, 255), (100.0, 0.0, 0.0)),
        ((0, 0, 0), (0.0, 0.0, 0.0)),
        ((255, 0, 0), (53.24, 80.09, 67.20)),
        ((0, 255, 0), (87.73, -86.18, 83.18)),
        ((0, 0, 255), (32.30, 79.19, -107.86)),
    ],
)
def test_colours_have_their_published_coordinates(colour, known):
    assert lab(np.array([colour], np.uint8))[0] == pytest.approx(known, abs=0.02)


@pytest.mark.parametrize("tone", [LIGHT, DARK, (198, 134, 66)])
def test_angle_is_that_of_the_skin_and_not_of_the_lesion(tone):
    image, lesion = photograph(tone)
    lightness, _, yellowness = lab(np.array([tone], np.uint8))[0]
    expected = math.degrees(math.atan2(lightness - 50.0, yellowness))
    assert typology_angle(image, lesion) == pytest.approx(expected, abs=0.051)
    image[lesion] = (0, 255, 0)
    assert typology_angle(image, lesion) == pytest.approx(expected, abs=0.051)


def test_lighter_skin_has_the_larger_angle():
    assert typology_angle(*photograph(LIGHT)) > 41 > 10 > typology_angle(*photograph(DARK))


def test_hair_and_glare_hardly_move_the_angle():
    image, lesion = photograph(LIGHT)
    clean = typology_angle(image, lesion)
    image[::10, :] = 5  # hair
    image[0, :10] = 255  # glare
    assert typology_angle(image, lesion) == pytest.approx(clean, abs=1.0)


def test_without_an_outline_skin_is_told_by_its_colour():
    image, lesion = photograph((220, 170, 140))
    image[:5] = (0, 0, 0)  # the dark rim of the dermatoscope
    found = skin_by_colour(image)
    assert found[6:9].all()
    assert not (found & lesion).any()
    assert not found[:5].any()
    assert typology_angle(image, None) == pytest.approx(typology_angle(image[5:], lesion[5:]), abs=0.2)


@pytest.mark.parametrize("shape", [(40, 60), (450, 600), (900, 1300)])
def test_size_of_the_picture_does_not_matter(shape):
    tone = np.array(LIGHT) + np.random.default_rng(0).normal(0, 6, (*shape, 3))
    small = typology_angle(tone.clip(0, 255).astype(np.uint8), np.zeros(shape, bool))
    assert small == pytest.approx(typology_angle(*photograph(LIGHT)), abs=1.5)


def test_where_there_is_no_skin_nothing_is_estimated():
    image, lesion = photograph(LIGHT)
    assert typology_angle(image, np.ones_like(lesion)) is None
    assert typology_angle(image[:, :, 0], lesion) is None
    assert typology_angle(np.zeros_like(image), None) is None


def test_index_holds_the_angle_of_every_image_and_the_card_calls_it_derived(tmp_path):
    options = make(tmp_path / "raw", images=28)
    dataset = convert(make_adapter("ham10000", options), tmp_path / "out", ConvertOptions(workers=1))
    (attribute,) = (a for a in dataset.card.attributes if a.derived)
    assert attribute.name == "ita"
    for shard in dataset.shards:
        rows = {row["sample_id"]: row for row in dataset.rows(shard.name).to_pylist()}
        for sample in dataset.read(shard.name, masks=True):
            assert rows[sample.sample_id]["ita"] == typology_angle(sample.image, sample.mask > 0)
