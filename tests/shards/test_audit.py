import io
import json
import time

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from shards.audit import Audit, alike, audit
from shards.audit.alike import DISTANCE, FINE_DISTANCE, find_duplicates
from shards.audit.groups import bin_names
from shards.audit.words import findings
from shards.card import Attribute, DatasetCard, Target
from shards.convert import ConvertOptions, convert
from shards.dataset import open_dataset

ONE = ConvertOptions(workers=1, max_rejected=0.5)
CARD = DatasetCard(
    "mine", "1", "any", "CC0", "here",
    targets=(Target("sick", ("no", "yes"), "yes"),),
    attributes=(Attribute("sex"), Attribute("age", "number", "years")),
)  # fmt: skip
RNG = np.random.default_rng(0)


def rows(count, *, per_subject=1, **columns):
    """Index rows of pictures that have nothing in common; a column is a list, or a function of the row's number."""
    made = []
    for number in range(count):
        row = {
            "sample_id": f"s{number:05d}",
            "subject_id": f"p{number // per_subject:05d}",
            "split": ("train", "val", "test")[number // per_subject % 3],
            "original_width": 64,
            "original_height": 48,
            "pixels_sha256": f"{number:064x}",
            "phash": RNG.bytes(8).hex(),
            "phash_fine": RNG.bytes(32).hex(),
            "intensity_mean": 100.0,
            "intensity_sd": 20.0,
            "sick": ("no", "yes")[number % 2],
            "sex": ("female", "male")[number // per_subject % 2],
            "age": 40.0,
        }
        made.append(row | {k: f(number) if callable(f) else f[number] for k, f in columns.items()})
    return made


def flipped(text, bits):
    """Change the first bits of a hash."""
    return f"{int(text, 16) ^ ((1 << bits) - 1):0{len(text)}x}"


def texts(found, topic):
    return [one.text for one in findings(found, CARD) if one.topic == topic]


def notable(found):
    return {one.topic for one in findings(found, CARD) if one.notable}


def attribute(found, name):
    return next(one for one in found.attributes if one.name == name)


def difference(found, name, measure):
    return next(one for one in attribute(found, name).differences if one.measure == measure)


def scene(seed):
    coarse = np.random.default_rng(seed).integers(0, 256, (18, 24, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((80, 60), Image.Resampling.BICUBIC))


def test_a_conversion_finds_copies_under_other_names_and_formats_of_other_people(raw, tmp_path):
    for number in range(12):
        raw.add(f"view-{number:02d}", scene(number), person=f"p{number}", label="no")
    raw.add("copied", scene(0), person="q0", label="yes", suffix=".bmp")
    buffer = io.BytesIO()
    Image.fromarray(scene(1)).resize((160, 120), Image.Resampling.BICUBIC).save(buffer, "JPEG", quality=70)
    raw.add("saved-again", data=buffer.getvalue(), suffix=".jpg", person="q1")
    raw.add("own-copy", scene(2), person="p2", label="no")
    raw.add("black", np.zeros((60, 80), np.uint8), person="q2")
    raw.add("black-too", np.zeros((60, 80), np.uint8), person="q3")
    found = convert(raw.adapter(), tmp_path / "out", ONE).audit.duplicates
    assert (found.same.pairs, found.same.samples) == (1, 2)
    assert set(found.same.examples[0].samples) == {"images/copied", "images/view-00"}
    assert (found.near.pairs, found.near.samples) == (1, 2)
    assert set(found.near.examples[0].samples) == {"images/saved-again", "images/view-01"}
    assert set(found.near.examples[0].subjects) == {"p1", "q1"}
    assert found.within_subjects == 1
    assert found.blank == 2
    assert found.conflicts == 1
    assert found.conflict_examples[0].classes == ("no", "yes")


def test_an_audit_is_stored_with_the_dataset_and_comes_back_the_same(many, tmp_path, describe):
    many.rows[3]["image"] = many.rows[20]["image"]
    many.rows[3]["uid"] = "other"
    (many.folder / many.rows[7]["image"]).write_bytes(b"")
    for number, row in enumerate(many.rows):
        row.setdefault("uid", f"u{number}")
    written = convert(many.adapter(sample_id="uid"), tmp_path / "out", ONE).audit
    assert Audit.from_json(json.loads(json.dumps(written.to_json()))) == written
    assert open_dataset(tmp_path / "out").audit == written
    assert describe(tmp_path / "out")["audit"]["duplicates"]["same"]["pairs"] == 1
    assert (written.samples, written.subjects) == (23, 12)
    assert sum(sum(group.rejected.values()) for group in attribute(written, "sex").groups) == 1


def test_pairs_of_equal_pixels_are_counted_between_people_and_between_splits():
    made = rows(12, per_subject=2)  # p0 train, p1 val, p2 test, p3 train, ...
    for number in (0, 1, 2, 6):
        made[number]["pixels_sha256"] = "same"
    found = audit(CARD, made, []).duplicates
    assert found.same.pairs == 5  # all six but that within p0
    assert found.same.across_splits == 3  # those with p1: p0 and p3 are both in train
    assert found.same.samples == 4
    assert found.within_subjects == 1
    assert found.same.examples[0].splits == ("train", "val")


@pytest.mark.parametrize(
    ("coarse", "fine", "expected"),
    [(DISTANCE, FINE_DISTANCE, 1), (DISTANCE + 1, 0, 0), (0, FINE_DISTANCE + 1, 0)],
)
def test_look_alikes_are_told_by_both_hashes_up_to_the_stated_distance(coarse, fine, expected):
    made = rows(50)
    made[40]["phash"] = flipped(made[3]["phash"], coarse)
    made[40]["phash_fine"] = flipped(made[3]["phash_fine"], fine)
    found = audit(CARD, made, []).duplicates
    assert found.near.pairs == expected
    assert found.near_complete
    assert [pair.distance for pair in found.near.examples] == [coarse] * expected


def test_look_alikes_of_one_person_and_pictures_without_structure_are_no_finding():
    made = rows(60, per_subject=2)
    for number in (1, 20, 40):
        made[number] |= {"phash": "8000000000000000", "phash_fine": "8" + "0" * 63}
    made[31] |= {name: made[30][name] for name in ("phash", "phash_fine")}
    made[50] |= {"phash": None, "phash_fine": None}
    made[55] |= {"phash": None, "phash_fine": None, "pixels_sha256": made[50]["pixels_sha256"]}
    found = audit(CARD, made, []).duplicates
    assert (found.near.pairs, found.same.pairs, found.blank) == (0, 0, 2)
    assert "Blank images" in notable(audit(CARD, made, []))


def test_the_search_finds_exactly_what_comparing_all_with_all_finds():
    rng = np.random.default_rng(7)
    made = rows(600)
    seeds = [rng.integers(0, 2**63) for _ in range(8)]  # families of pictures of which many bits agree
    for number, row in enumerate(made):
        value = int(seeds[number % 8])
        for bit in rng.integers(0, 64, rng.integers(0, 5)):
            value ^= 1 << int(bit)
        row["phash"], row["phash_fine"] = f"{value:016x}", f"{value:016x}" * 4
    count = across = 0
    for n, one in enumerate(made):
        for other in made[:n]:
            apart = (int(one["phash"], 16) ^ int(other["phash"], 16)).bit_count()
            if apart <= DISTANCE and 4 * apart <= FINE_DISTANCE:
                count += 1
                across += one["split"] != other["split"]
    found = audit(CARD, made, []).duplicates
    assert count > 1000
    assert (found.near.pairs, found.near.across_splits) == (count, across)


def test_the_search_does_not_compare_all_with_all():
    frame = pd.DataFrame(rows(20_000))
    search = alike._Search(frame, alike._numbers(frame["phash"])[:, 0])
    list(search.run())
    assert search._comparisons < 20_000**2 / 2 / 500
    start = time.process_time()
    find_duplicates(frame, ["sick"])
    assert time.process_time() - start < 10


def test_a_search_that_is_given_up_says_so(monkeypatch):
    monkeypatch.setattr(alike, "_MOST_COMPARISONS", 100)
    made = rows(60)
    for row in made:
        row["phash"], row["phash_fine"] = made[0]["phash"], made[0]["phash_fine"]
    found = audit(CARD, made, [])
    assert not found.duplicates.near_complete
    assert 0 < found.duplicates.near.pairs < 60 * 59 / 2
    assert "given up early" in texts(found, "Look alike")[0]
    assert "Look alike" in notable(found)


def test_memory_for_examples_is_bounded_while_all_pairs_are_counted(monkeypatch):
    monkeypatch.setattr(alike, "_MOST_PAIRS", 10)
    made = rows(60)
    for row in made:
        row["phash"], row["phash_fine"] = made[0]["phash"], made[0]["phash_fine"]
    near = audit(CARD, made, []).duplicates.near
    assert near.pairs == 60 * 59 / 2
    assert len(near.examples) == 10


def test_equal_pixels_with_different_labels_are_listed_and_unknown_labels_are_no_conflict():
    made = rows(20)
    for number, (picture, label) in enumerate(
        [("a", "no"), ("a", "yes"), ("b", "no"), ("b", None), ("c", "no"), ("c", "no")]
    ):
        made[number] |= {"pixels_sha256": picture, "sick": label}
    found = audit(CARD, made, [])
    assert found.duplicates.conflicts == 1
    assert found.duplicates.conflict_examples[0].samples == ("s00000", "s00001")
    assert texts(found, "Contradictory labels") == [
        "1 picture with the same pixels and different labels, e.g. s00000, s00001: sick is no and yes."
    ]


def test_no_subject_in_two_splits_is_stated_and_one_that_is_would_be_named():
    made = rows(30)
    assert texts(audit(CARD, made, []), "Splits") == ["No patient is in two splits (30 patients)."]
    made[1]["subject_id"] = "p00000"
    found = audit(CARD, made, [])
    assert found.subjects_across_splits == ("p00000",)
    assert "Splits" in notable(found)


def test_unknown_values_are_counted_by_split_and_are_a_group_of_their_own():
    made = rows(30, sex=lambda n: None if n % 3 == 0 else "male")
    found = attribute(audit(CARD, made, []), "sex")
    assert (found.unknown, found.unknown_by_split) == (10, {"train": 10})
    assert [(group.name, group.samples) for group in found.groups] == [("male", 20), ("unknown", 10)]
    assert "Unknown for 10 samples (33.3%): train 10." in texts(audit(CARD, made, []), "sex")


def test_people_with_two_values_of_a_category_are_told():
    made = rows(30, per_subject=3)
    made[0]["sex"] = "male" if made[0]["sex"] == "female" else "female"
    made[4]["sex"] = None
    made[1]["age"] = 41.0  # people grow older
    found = audit(CARD, made, [])
    assert [one.contradictory for one in found.attributes] == [1, 0]
    assert notable(found) >= {"sex"}


def test_what_differs_within_most_people_is_of_their_images_and_no_contradiction():
    made = rows(30, per_subject=2)
    for number, row in enumerate(made):
        row["sex"] = ("left", "right")[number % 2]
    found = audit(CARD, made, [])
    assert "sex" not in notable(found)
    assert "15 patients with more than one value: it is a property of images" in texts(found, "sex")[0]


def test_numbers_are_cut_into_quarters_of_the_subjects():
    ages = [20.0] * 50 + [float(age) for age in range(20, 60)]  # one person with fifty-one images
    made = rows(90, age=ages, subject_id=lambda n: "p" if n < 51 else f"p{n}")
    found = attribute(audit(CARD, made, []), "age")
    assert found.edges == (29.0, 39.0, 49.0)
    assert [group.name for group in found.groups] == ["<29", "29-39", "39-49", "49+"]
    assert [group.subjects for group in found.groups] == [9, 10, 10, 11]
    assert sum(group.samples for group in found.groups) == 90


@pytest.mark.parametrize(
    ("ages", "names"),
    [([40.0, 40.0], ["all values"]), ([None, None], ["unknown"]), ([0.0, 1.0], ["<1", "1+"])],
)
def test_numbers_of_few_values_have_no_empty_parts(ages, names):
    found = attribute(audit(CARD, rows(40, age=lambda n: ages[n % 2]), []), "age")
    assert [group.name for group in found.groups if group.samples] == names
    assert len(found.groups) == len(names)


def test_names_of_parts_hold_their_lower_edge():
    assert bin_names([1.0, 2.5]) == ("<1", "1-2.5", "2.5+")
    found = attribute(audit(CARD, rows(8, age=[0.0, 0.0, 1.0, 1.0, 2.0, 2.0, 3.0, 3.0]), []), "age")
    assert sum(group.samples for group in found.groups) == 8


def test_classes_are_counted_by_group_with_those_of_unknown_class_apart():
    made = rows(
        12,
        sex=lambda n: "male" if n < 4 else "female",
        sick=lambda n: None if n == 0 else ("no", "yes")[n % 2],
    )
    groups = {group.name: group for group in attribute(audit(CARD, made, []), "sex").groups}
    assert groups["male"].classes == {"sick": {"": 1, "no": 1, "yes": 2}}
    assert groups["female"].classes == {"sick": {"no": 4, "yes": 4}}
    assert texts(audit(CARD, made, []), "sick by sex") == [
        "Share of yes: from 50.0% (female) to 66.7% (male) of the samples."
    ]


def test_rare_values_are_lumped_together_and_none_is_lost():
    made = rows(200, sex=lambda n: f"site-{n % 60:02d}")
    groups = attribute(audit(CARD, made, []), "sex").groups
    assert len(groups) == 25
    assert groups[-1].name == "(rarer values)"
    assert sum(group.samples for group in groups) == 200


def test_rejected_samples_are_counted_by_group_because_dropping_can_be_unfair():
    lost = [{"reason": "decode_error", "sex": "male", "age": None}] * 15
    lost += [{"reason": "missing_mask", "sex": None, "age": 40.0}]
    found = audit(CARD, rows(100), lost)
    groups = {group.name: group.rejected for group in attribute(found, "sex").groups}
    assert groups == {"female": {}, "male": {"decode_error": 15}, "unknown": {"missing_mask": 1}}
    assert "Left out by sex" not in notable(audit(CARD, rows(100), lost[:5]))
    assert {group.name: sum(group.rejected.values()) for group in attribute(found, "age").groups} == {
        "all values": 1,
        "unknown": 15,
    }
    assert "Left out by age" in notable(found)


def test_a_group_that_was_rejected_as_a_whole_is_still_told():
    found = audit(CARD, rows(20), [{"reason": "decode_error", "sex": "other", "age": 40.0}])
    groups = {
        group.name: (group.samples, sum(group.rejected.values())) for group in attribute(found, "sex").groups
    }
    assert (0, 1) in groups.values()


def by_sex(count, per_subject=1, **shifts):
    """Rows of as many women as men, whose images differ by the given intensities."""
    noise = np.random.default_rng(3).normal(0, 1, count)
    made = rows(count, per_subject=per_subject)
    for row, jitter in zip(made, noise, strict=True):
        row["intensity_mean"] = 100.0 + jitter + shifts.get(row["sex"], 0.0)
    return made


def test_groups_whose_images_differ_are_told_with_size_interval_and_people():
    found = audit(CARD, by_sex(200, male=1.0), [])
    told = difference(found, "sex", "intensity_mean")
    assert told.groups == ("female", "male")
    assert told.subjects == (100, 100)
    assert 0.7 < told.smd < 1.3
    assert told.ci_low < told.smd < told.ci_high
    error = np.sqrt(2 / 100 + told.smd**2 / 400)
    assert told.ci_high - told.ci_low == pytest.approx(2 * 1.96 * error, rel=1e-3)
    assert told.notable
    assert "Images by sex" in notable(found)
    assert not difference(audit(CARD, by_sex(2000), []), "sex", "intensity_mean").notable


def test_what_chance_alone_can_do_among_many_pairs_is_said_to_be_chance():
    made = rows(120, sex=lambda n: f"site-{n % 6}")
    told = []
    for seed in range(40):
        noise = np.random.default_rng(seed).normal(0, 1, 120)
        for row, jitter in zip(made, noise, strict=True):
            row["intensity_mean"] = 100.0 + jitter
        told.append(difference(audit(CARD, made, []), "sex", "intensity_mean"))
    assert np.mean([one.smd for one in told]) > 0.4  # the pair of fifteen that happens to differ most
    assert sum(one.ci_low <= 0 for one in told) >= 36
    error = np.sqrt(2 / 20 + told[-1].smd ** 2 / 80)
    assert (told[-1].ci_high - told[-1].ci_low) / (2 * error) == pytest.approx(2.935, rel=1e-3)
    assert told[-1].ci_low <= 0
    assert "which may be chance" in texts(audit(CARD, made, []), "Images by sex")[0]
    assert "chance" not in texts(audit(CARD, by_sex(200, male=1.0), []), "Images by sex")[0]


def test_fewer_than_twenty_people_in_a_group_judge_nothing():
    told = difference(audit(CARD, by_sex(38, male=5.0), []), "sex", "intensity_mean")
    assert told.smd > 2
    assert not told.notable
    assert difference(audit(CARD, by_sex(40, male=5.0), []), "sex", "intensity_mean").notable


def test_many_images_of_one_person_count_once():
    made = by_sex(60)
    for number in range(400):
        odd = {"sample_id": f"odd-{number}", "subject_id": "p00001", "intensity_mean": 110.0}
        made.append({**made[1], **odd, "pixels_sha256": f"odd-{number}", "phash": None, "phash_fine": None})
    told = difference(audit(CARD, made, []), "sex", "intensity_mean")
    assert told.subjects == (30, 30)
    assert max(told.means) < 101


def test_small_groups_do_not_hide_what_large_ones_show():
    made = by_sex(200, male=1.0)
    made[0] |= {"sex": "other", "intensity_mean": 500.0}
    made[2] |= {"sex": "other", "intensity_mean": 501.0}
    assert difference(audit(CARD, made, []), "sex", "intensity_mean").groups == ("female", "male")


def test_sizes_that_never_overlap_are_notable_though_no_number_tells_how_much():
    made = rows(80, original_width=lambda n: 512 if n % 2 else 1024)
    told = difference(audit(CARD, made, []), "sex", "original_width")
    assert (told.smd, told.ci_low, told.ci_high) == (None, None, None)
    assert told.notable
    assert told.means == (512.0, 1024.0)
    assert "without any overlap" in texts(audit(CARD, made, []), "Images by sex")[0]


def test_what_is_the_same_for_all_is_no_difference():
    assert attribute(audit(CARD, rows(80), []), "sex").differences == ()


def test_a_dataset_without_attributes_and_targets_is_audited_too():
    bare = DatasetCard("mine", "1", "any", "CC0", "here")
    found = audit(bare, rows(10), [])
    assert found.attributes == ()
    assert [one.topic for one in findings(found, bare)] == ["Splits", "Same pixels", "Look alike"]


def test_the_same_rows_give_the_same_audit_in_plain_json():
    made = rows(100)
    first, again = (json.dumps(audit(CARD, made, []).to_json(), allow_nan=False) for _ in range(2))
    assert first == again
