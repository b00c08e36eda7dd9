import numpy as np
import pytest

from shards.adapter import UnreadableSample
from shards.formats.arrays import npz_names, read_npz


@pytest.fixture
def path(tmp_path):
    """An archive as publishers make them: pixels, a number, and a text that NumPy pickled."""
    file = tmp_path / "data_00001.npz"
    np.savez_compressed(
        file, slo=np.arange(12.0).reshape(3, 4), age=np.array(58.0), note=np.array("secret", dtype=object)
    )
    return file


def refusal(path, *keys):
    with pytest.raises(UnreadableSample) as caught:
        read_npz(path, *keys)
    return caught.value


def test_named_arrays_are_read_as_stored(path):
    found = read_npz(path, "slo", "age")
    assert list(found) == ["slo", "age"]
    assert np.array_equal(found["slo"], np.arange(12.0).reshape(3, 4))
    assert found["age"].item() == 58.0
    assert npz_names(path) == ("slo", "age", "note")


def test_arrays_of_objects_are_skipped_and_refused_when_asked_for(path):
    assert list(read_npz(path)) == ["slo", "age"]
    error = refusal(path, "slo", "note")
    assert error.reason == "pickled_array"
    assert "'note'" in error.detail


def test_what_a_pickle_would_run_is_never_run(tmp_path):
    ran = tmp_path / "ran"

    class Trap:
        def __reduce__(self):
            return (ran.touch, ())

    np.savez(tmp_path / "trap.npz", image=np.array([Trap()], dtype=object))
    assert read_npz(tmp_path / "trap.npz") == {}
    assert refusal(tmp_path / "trap.npz", "image").reason == "pickled_array"
    assert not ran.exists()


def test_a_missing_array_is_told_with_those_that_are_there(path):
    error = refusal(path, "slo_fundus")
    assert error.reason == "missing_array"
    assert error.detail == "data_00001.npz lacks the array 'slo_fundus'; found slo, age, note"


def test_missing_empty_cut_and_foreign_files_are_told_apart(path, tmp_path):
    with pytest.raises(UnreadableSample, match=r"missing_mask: file gone\.npz does not exist"):
        read_npz(tmp_path / "gone.npz", missing="missing_mask")
    data = path.read_bytes()
    for bad, reason in (
        (b"", "empty_file"),
        (data[:200], "decode_error"),
        (b"no archive" * 9, "decode_error"),
    ):
        path.write_bytes(bad)
        assert refusal(path, "slo").reason == reason
    np.save(tmp_path / "single.npy", np.zeros(3))
    assert refusal(tmp_path / "single.npy", "slo").reason == "decode_error"


def test_altered_bytes_of_an_array_are_noticed(tmp_path):
    path = tmp_path / "data.npz"
    np.savez(path, slo=np.arange(3000, dtype=np.uint16))
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(data)
    error = refusal(path, "slo")
    assert error.reason == "decode_error"
    assert "'slo' of data.npz" in error.detail
