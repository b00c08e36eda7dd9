import io
import tarfile

import pytest
from webdataset import tariterators

from shards.convert import ConvertOptions, convert
from shards.tar import write_tar

SAMPLES = [
    ("one", {"json": b"{}", "image.png": b"pixels", "mask.png": b"m" * 512}),
    ("two", {"image.jpg": b"", "json": b"[]"}),
]


def test_places_that_are_returned_are_where_the_bytes_lie():
    buffer = io.BytesIO()
    blocks = write_tar(buffer, SAMPLES)
    data = buffer.getvalue()
    for (_, members), block in zip(SAMPLES, blocks, strict=True):
        assert [member.name for member in block.members] == sorted(members)
        for member in block.members:
            assert data[member.offset : member.offset + member.size] == members[member.name]
            assert block.offset < member.offset
            assert member.offset + member.size <= block.offset + block.size


def test_standard_tools_read_it_and_find_neither_time_nor_owner():
    buffer = io.BytesIO()
    write_tar(buffer, SAMPLES)
    buffer.seek(0)
    with tarfile.open(fileobj=buffer, mode="r:") as tar:
        members = tar.getmembers()
        contents = {member.name: tar.extractfile(member).read() for member in members}
    assert contents == {f"{key}.{name}": data for key, found in SAMPLES for name, data in found.items()}
    assert {(m.mtime, m.uid, m.gid, m.uname, m.gname, m.mode) for m in members} == {(0, 0, 0, "", "", 0o644)}


def test_only_harmless_members_can_be_written():
    with pytest.raises(ValueError, match="pickle"):
        write_tar(io.BytesIO(), [("one", {"pickle": b""})])


def test_webdataset_reads_every_sample_once(raw, tmp_path):
    ids = [f"1.2.840.113619.{number}" for number in range(20)]
    for number, name in enumerate(ids):
        raw.add(f"{number:02d}", id=name)
    adapter = raw.adapter(sample_id="id")
    dataset = convert(adapter, tmp_path / "out", ConvertOptions(workers=1, samples_per_shard=3))
    samples = []
    for shard in dataset.shards:
        with (dataset.path / "shards" / shard.name).open("rb") as file:
            members = tariterators.tar_file_expander([{"url": shard.name, "stream": file}])
            samples += tariterators.group_by_keys(members)
    keys = dict(zip(dataset.index["key"].to_pylist(), dataset.index["sample_id"].to_pylist(), strict=True))
    assert sorted(keys[sample["__key__"]] for sample in samples) == sorted(ids)
    assert all({"image.png", "json"} <= set(sample) for sample in samples)
