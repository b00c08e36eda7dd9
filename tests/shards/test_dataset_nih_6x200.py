import csv
import hashlib
import os
from collections import Counter
from pathlib import Path

import pytest
from replicas import nih_cxr14 as made
from replicas import replica

from shards.convert import ConvertOptions, convert
from shards.datasets import make_adapter
from shards.errors import UserError

ONE = ConvertOptions(workers=1)
SIX = ["atelectasis", "cardiomegaly", "consolidation", "effusion", "pneumonia", "pneumothorax"]


@pytest.fixture
def options(tmp_path):
    return replica("nih-6x200")(tmp_path / "raw")


def chosen(options, **given):
    return set(make_adapter("nih-6x200", {**options, **given}).manifest()["sample_id"])


def test_equally_many_images_of_one_finding_and_one_patient_each_are_chosen(options, tmp_path):
    dataset = convert(make_adapter("nih-6x200", options), tmp_path / "out", ONE)
    rows = dataset.index.to_pylist()
    assert Counter(row["finding"] for row in rows) == dict.fromkeys(SIX, 5)
    assert all(row["finding"] == row["finding_labels"].lower() for row in rows)
    assert len({row["subject_id"] for row in rows}) == len(rows) == 30
    assert dataset.rejected.num_rows == 0
    assert dataset.card.target("finding").classes == tuple(SIX)
    for split in ("train", "val", "test"):
        mine = [row for row in rows if row["split"] == split]
        assert {row["finding"] for row in mine} == set(SIX)
        assert {row["sex"] for row in mine} == {"female", "male"}


def test_the_choice_depends_on_the_seed_alone(options):
    first = chosen(options)
    table = options["raw"] / "Data_Entry_2017_v2020.csv"
    header, *lines = table.read_text().splitlines()
    table.write_text("\n".join([header, *reversed(lines)]) + "\n")
    assert chosen(options) == first
    assert chosen(options, seed=1) != first
    table.write_text("\n".join([header, *lines]) + "\n")
    for path in list(options["raw"].glob("images_*/images/*.png"))[:20]:
        path.unlink()
    (options["raw"] / "test_list.txt").unlink()
    assert chosen(options) == first


def test_this_choice_stays_the_same_from_version_to_version(options):
    assert hashlib.sha256("\n".join(sorted(chosen(options))).encode()).hexdigest()[:16] == "e1e27b7425944fa1"


def test_the_card_holds_the_hash_of_the_list_and_says_whose_choice_it_is(options):
    adapter = make_adapter("nih-6x200", options)
    listed = "".join(f"{name}.png\n" for name in sorted(chosen(options)))
    (note,) = [note for note in adapter.card().notes if note.startswith("nih_6x200:ours")]
    assert hashlib.sha256(listed.encode()).hexdigest() in note
    assert "5 images of each of 6 findings" in note
    assert "seed 0" in note
    assert not any("Converted without" in note for note in adapter.card().notes)


def test_images_that_are_not_chosen_are_neither_samples_nor_rejected(options, tmp_path):
    dataset = convert(make_adapter("nih-6x200", options), tmp_path / "out", ONE)
    assert dataset.index.num_rows == 30 < len(list(options["raw"].glob("images_*/images/*.png")))
    assert dataset.rejected.num_rows == 0


def test_rows_without_an_image_or_a_patient_are_not_chosen(options):
    table = options["raw"] / "Data_Entry_2017_v2020.csv"
    image = sorted(chosen(options))[0] + ".png"
    table.write_text(table.read_text().replace(f"\n{image},", "\n,"))
    assert image.removesuffix(".png") not in chosen(options)
    assert len(make_adapter("nih-6x200", options).card().notes) > 2


def test_too_few_patients_of_a_finding_are_told(options):
    with pytest.raises(
        UserError, match=r"needs 200 patients with \w+ as only finding.*has \d+\. Give a smaller 'per_class'"
    ):
        make_adapter("nih-6x200", {"raw": options["raw"]}).manifest()
    single = sum(
        made.labels(n, f) == "Pneumonia" for n in made.PEOPLE for f in ((0, 1) if n % 3 == 0 else (0,))
    )
    with pytest.raises(UserError, match="as only finding"):
        chosen(options, per_class=single + 1)


def test_prompts_name_all_six_findings_in_the_order_of_the_classes(options):
    (first, *_) = make_adapter("nih-6x200", options).card().prompts
    assert (first.version, first.templates) == ("sourget-1", ("Chest {}",))
    assert [name for (name,) in first.names] == [
        *("Atelectasis", "Cardiomegaly", "Consolidation", "Pleural Effusion", "Pneumonia", "Pneumothorax")
    ]


@pytest.mark.real
@pytest.mark.slow
def test_the_real_sample_has_too_few_and_says_of_what():
    folder = Path(os.environ.get("FAIRRAY_REAL_DATA", "")) / "NIH"
    if not os.environ.get("FAIRRAY_REAL_DATA") or not folder.is_dir():
        pytest.skip("set FAIRRAY_REAL_DATA to the folder that holds NIH as its publisher lays it out")
    with (folder / "Data_Entry_2017_v2020.csv").open(newline="") as file:
        table = list(csv.reader(file))[1:]
    patients = {name: len({line[3] for line in table if line[1].lower() == name}) for name in SIX}
    rarest = min(patients, key=lambda name: (patients[name], name))
    told = f"needs 1 patients with {rarest.capitalize()} as only finding.*the table has {patients[rarest]}"
    with pytest.raises(UserError, match=told):
        chosen({"raw": folder, "per_class": 1})
