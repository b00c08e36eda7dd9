"""What counts as a change of the raw data, and what an interrupted conversion does about it."""

import os
import pickle

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from replicas._volumes import save

from shards import writer
from shards.card import DatasetCard
from shards.convert import ConvertOptions, convert
from shards.datasets import make_adapter
from shards.manifest import check_manifest
from shards.stamps import row_stamps

ONE = ConvertOptions(workers=1, samples_per_shard=6)


def rows(**cells):
    frame = pd.DataFrame({"sample_id": ["a"], "subject_id": ["p"], **{k: [v] for k, v in cells.items()}})
    return check_manifest(frame, DatasetCard("mine", "1", "photo", "none", "here")).rows


def file(path, data=b"1"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


@pytest.mark.parametrize(
    ("cell", "changed"),
    [
        (lambda folder: str(folder / "one"), "one"),
        (lambda folder: folder / "one", "one"),
        (lambda folder: [[str(folder / "one"), 0], [str(folder / "two"), 1]], "two"),
        (lambda folder: {"image": str(folder / "one"), "masks": [str(folder / "two")]}, "two"),
        (lambda folder: str(folder), "two"),
        (lambda folder: str(folder), "series/deep"),
        (lambda folder: str(folder / "scan.mhd"), "scan.raw"),
        (lambda folder: str(folder / "scan.mhd"), "scan.zraw"),
    ],
)
def test_a_changed_file_changes_the_stamp_wherever_a_row_names_it(tmp_path, cell, changed):
    for name in ("one", "two", "series/deep", "scan.mhd", "scan.raw", "scan.zraw"):
        file(tmp_path / "raw" / name)
    found = rows(_place=cell(tmp_path / "raw"))
    before = row_stamps(found)
    assert row_stamps(found) == before
    file(tmp_path / "raw" / changed, b"22")
    assert row_stamps(found) != before


def test_a_link_that_leads_nowhere_hides_no_change_of_its_neighbours(tmp_path):
    slice_ = file(tmp_path / "series" / "1.dcm")
    (tmp_path / "series" / "lost.dcm").symlink_to(tmp_path / "nowhere")
    found = rows(_series=str(tmp_path / "series"))
    before = row_stamps(found)
    os.utime(slice_, ns=(1, 10**18))
    after = row_stamps(found)
    os.utime(slice_, ns=(1, 2 * 10**18))
    assert len({*before, *after, *row_stamps(found)}) == 3


def test_files_behind_links_count_as_files(tmp_path):
    real = file(tmp_path / "real")
    (tmp_path / "series").mkdir()
    (tmp_path / "series" / "1.dcm").symlink_to(real)
    found = rows(_series=str(tmp_path / "series"))
    before = row_stamps(found)
    real.write_bytes(b"other")
    assert row_stamps(found) != before


def test_names_of_columns_and_values_count_and_sources_are_only_told(tmp_path):
    path = str(file(tmp_path / "one"))
    stamps = [row_stamps(rows(**cells)) for cells in ({"_a": path}, {"_b": path}, {"_a": path, "note": "x"})]
    assert len({stamp for (stamp,) in stamps}) == 3
    named = rows(_source=path)
    before = row_stamps(named)
    file(tmp_path / "one", b"22")
    assert row_stamps(named) == before


def test_stamps_of_many_rows_are_those_of_each_in_their_order(tmp_path):
    names = [f"s{number:04d}" for number in range(1000)]
    frame = pd.DataFrame(
        {"sample_id": names, "subject_id": names, "_image": [f"{tmp_path}/{n}" for n in names]}
    )
    found = check_manifest(frame, DatasetCard("mine", "1", "photo", "none", "here")).rows
    assert row_stamps(found) == [row_stamps([row])[0] for row in found]
    assert row_stamps([]) == []


def test_rows_are_mappings_that_survive_another_process():
    (row,) = rows(_place="/x", age=[1, None])
    again = pickle.loads(pickle.dumps(row))
    assert again == row
    assert dict(again.values) == {"sample_id": "a", "subject_id": "p", "_place": "/x", "age": [1, None]}
    assert (again.values.get("nothing"), "age" in again.values, len(again.values)) == (None, True, 4)
    with pytest.raises(KeyError, match="nothing"):
        again.values["nothing"]


def test_a_picture_that_changed_after_it_was_read_is_read_again_after_an_interruption(
    many, tmp_path, monkeypatch
):
    adapter, write_tar = many.adapter(), writer.write_tar
    image = many.folder / many.rows[0]["image"]

    def slow(file, samples):
        blocks = write_tar(file, samples)
        Image.fromarray(np.full((12, 16), 77, np.uint8)).save(image)
        return blocks

    def interrupt(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(writer, "write_tar", slow)
    with pytest.raises(KeyboardInterrupt):
        convert(adapter, tmp_path / "out", ConvertOptions(workers=1), interrupt)
    monkeypatch.undo()
    dataset = convert(adapter, tmp_path / "out", ConvertOptions(workers=1))
    shown = {s.sample_id: s.image for shard in dataset.shards for s in dataset.read(shard.name, masks=False)}
    assert (shown["images/view-00"] == 77).all()


def test_only_the_mask_of_a_volume_changed_and_its_shard_is_made_again(tmp_path, files_of):
    raw, rng = tmp_path / "raw", np.random.default_rng(0)
    raw.mkdir()
    lines = ["scan,mask,person"]
    for number in range(6):
        save(raw / f"{number}.nii.gz", rng.integers(0, 200, (3, 8, 8)).astype(np.int16))
        save(raw / f"{number}_seg.nii.gz", np.ones((3, 8, 8), np.uint8))
        lines.append(f"{number}.nii.gz,{number}_seg.nii.gz,p{number}")
    (raw / "table.csv").write_text("\n".join(lines))
    options = {"table": raw / "table.csv", "dataset": "scans", "image": "scan", "mask": "mask"}
    options |= {"subject": "person", "structures": {"organ": 1}, "window": [0, 200]}
    adapter = make_adapter("table", options)
    before = convert(adapter, tmp_path / "out", ONE)
    index = {row["sample_id"]: row for row in before.index.to_pylist()}
    told = []
    mask = np.ones((3, 8, 8), np.uint8)
    mask[0] = 0
    save(raw / "2_seg.nii.gz", mask)
    after = convert(adapter, tmp_path / "out", ONE, told.append)
    assert told
    assert after.fingerprint != before.fingerprint
    changed = [
        row for row in after.index.to_pylist() if row["mask_sha256"] != index[row["sample_id"]]["mask_sha256"]
    ]
    assert [row["sample_id"] for row in changed] == ["2"]
    assert all(
        row["image_sha256"] == index[row["sample_id"]]["image_sha256"] for row in after.index.to_pylist()
    )
