"""What holds for every dataset that can be converted, on a made-up raw folder in its publisher's layout."""

import json

import pytest
from replicas import replica

from shards.convert import ConvertOptions, convert
from shards.dataset import open_dataset
from shards.datasets import adapter_class, adapter_names, make_adapter
from shards.errors import UserError
from shards.manifest import check_manifest
from shards.verify import verify

GENERATED = {name for name in adapter_names() if adapter_class(name).facts.access.kind == "generated"}
PUBLISHED = sorted(set(adapter_names()) - GENERATED - {"table"})
#: The publisher has no sex of anybody.
WITHOUT_SEX = {"fitzpatrick17k", "oct-amd"}
#: The publisher's release has a column that could tell, and leaves it out.
NEVER_KNOWN = {("spider", "age")}
#: The publisher has one sample of each subject.
SINGLE = {
    *(
        "candi",
        "covid-ct-md",
        "fairseg",
        "fairvision",
        "fairvlmed",
        "fitzpatrick17k",
        "gf3300",
        "ircadb",
        "kits23",
    ),
    *("montgomery", "nih-6x200", "oct-amd", "ol3i"),
}
#: Models that were trained on a dataset, or perhaps were: its notes must name them.
TRAINED_ON = {
    "chexpert": ("MedCLIP", "MoCo-CXR", "GLoRIA", "RAD-DINO", "C2L", "MedMAE"),
    "mimic-cxr": ("MedCLIP", "RAD-DINO", "MedMAE", "MedSigLIP"),
    "nih-cxr14": ("RAD-DINO", "MedMAE", "C2L"),
    "nih-6x200": ("RAD-DINO", "MedMAE", "C2L"),
}
#: What a refusal says of each kind of access.
HOW = {
    "open": "can be downloaded by anyone",
    "registration": "needs a registration",
    "request": "given on request",
    "credentialed": "needs credentialed access",
}
SEGMENTERS = ("MedSAM", "SAM-Med2D", "SAM-Med3D", "SegVol", "LVM-Med")


@pytest.fixture(scope="module", params=PUBLISHED)
def converted(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    adapter = make_adapter(request.param, replica(request.param)(folder / "raw"))
    convert(adapter, folder / "out", ConvertOptions(workers=1, samples_per_shard=16))
    return adapter, folder


def column(dataset, name):
    return dataset.index[name].to_pylist()


def test_replica_is_converted_and_whole(converted):
    adapter, folder = converted
    dataset = open_dataset(folder / "out")
    assert verify(dataset, None) == ()
    assert dataset.card.name.startswith(adapter.name)  # one of several variants says which
    assert dataset.card.task == adapter.facts.task
    assert dataset.rejected.num_rows <= 0.05 * (dataset.index.num_rows + dataset.rejected.num_rows)
    for shard in dataset.shards:
        samples = list(dataset.read(shard.name, masks=True))
        assert {sample.status for sample in samples} == {"ok"}
        assert all(sample.image.max() > sample.image.min() for sample in samples)


def test_no_subject_is_in_two_splits_and_all_splits_are_there(converted):
    adapter, folder = converted
    dataset = open_dataset(folder / "out")
    pairs = set(zip(column(dataset, "subject_id"), column(dataset, "split"), strict=True))
    assert len(pairs) == len({subject for subject, _ in pairs})
    assert {split for _, split in pairs} == {"train", "val", "test"}
    assert (len(pairs) < dataset.index.num_rows) is (adapter.name not in SINGLE)


def test_groups_are_words_and_unknown_is_null(converted):
    adapter, folder = converted
    dataset = open_dataset(folder / "out")
    if adapter.name not in WITHOUT_SEX:
        sexes = set(column(dataset, "sex"))
        assert {"female", "male"} <= sexes <= {"female", "male", "other", None}
    for attribute in dataset.card.attributes:
        values = set(column(dataset, attribute.name))
        assert values != {None} or (adapter.name, attribute.name) in NEVER_KNOWN
        assert not {"unknown", "Unknown", "", "-1", "nan"} & values
    ages = [
        age
        for age in (column(dataset, "age") if "age" in dataset.index.column_names else [])
        if age is not None
    ]
    assert all(0 <= age <= 120 for age in ages)
    assert set(adapter.facts.attributes) == {attribute.name for attribute in dataset.card.attributes}


def test_every_attribute_is_known_in_every_split(converted):
    adapter, folder = converted
    index = open_dataset(folder / "out").index.to_pandas()
    for split, part in index.groupby("split"):
        empty = [name for name in adapter.facts.attributes if part[name].isna().all()]
        assert {(adapter.name, name) for name in empty} <= NEVER_KNOWN, split


def test_every_target_has_its_classes_and_texts_for_each(converted):
    _, folder = converted
    dataset = open_dataset(folder / "out")
    prompts = {prompt.target: prompt for prompt in dataset.card.prompts}
    for target in dataset.card.targets:
        assert len(set(column(dataset, target.name)) - {None}) >= 2, target.name
        assert len(prompts[target.name].names) == len(target.classes)
        assert (target.positive in target.classes) is (len(target.classes) == 2)


def test_every_structure_is_in_some_mask(converted):
    _, folder = converted
    dataset = open_dataset(folder / "out")
    values = set()
    for shard in dataset.shards:
        for sample in dataset.read(shard.name, masks=True):
            values |= set() if sample.mask is None else set(sample.mask.ravel().tolist())
    for structure in dataset.card.structures:
        assert values & set(structure.values), structure.name


def test_the_card_names_models_that_may_have_seen_the_images_in_training(converted):
    adapter, folder = converted
    card = open_dataset(folder / "out").card
    models = (*TRAINED_ON.get(adapter.name, ()), *(SEGMENTERS if card.structures else ()))
    assert [model for model in models if model not in " ".join(card.notes)] == []


def test_presets_form_groups_of_known_columns(converted):
    _, folder = converted
    dataset = open_dataset(folder / "out")
    for preset in dataset.card.presets:
        assert preset.column in dataset.index.column_names
        if preset.bins:
            assert len(preset.labels) == len(preset.bins) + 1
        else:
            assert len(preset.values) in (
                len(preset.labels),
                len(preset.labels) - (preset.otherwise is not None),
            )


def test_workers_change_no_byte(converted, tmp_path, files_of):
    adapter, folder = converted
    convert(adapter, tmp_path / "two", ConvertOptions(workers=2, samples_per_shard=16))
    assert files_of(tmp_path / "two") == files_of(folder / "out")


def test_nothing_on_disk_names_the_place_of_the_raw_data(converted):
    _, folder = converted
    text = json.dumps(json.loads((folder / "out" / "dataset.json").read_text()))
    assert str(folder) not in text
    index = open_dataset(folder / "out").index
    assert not any(str(source).startswith("/") for source in index["source"].to_pylist())


@pytest.mark.parametrize("name", PUBLISHED)
def test_empty_folder_is_refused_with_the_page_to_get_it_from(name, tmp_path):
    (tmp_path / "empty").mkdir()
    options = replica(name)(tmp_path / "replica") | {"raw": tmp_path / "empty"}
    adapter = make_adapter(name, options)
    with pytest.raises(UserError) as refusal:
        convert(adapter, tmp_path / "out", ConvertOptions(workers=1))
    assert adapter.facts.access.page in str(refusal.value)
    assert HOW[adapter.facts.access.kind] in str(refusal.value)
    assert str(tmp_path / "empty") in str(refusal.value)


@pytest.mark.parametrize("name", PUBLISHED)
def test_what_a_mac_puts_beside_the_files_is_not_the_publishers(name, tmp_path):
    adapter = make_adapter(name, replica(name)(tmp_path / "raw"))
    before = check_manifest(adapter.manifest(), adapter.card())
    for path in sorted((tmp_path / "raw").rglob("*")):
        if path.is_file():
            path.with_name(f"._{path.name}").write_bytes(b"\0\5\x16\7\0\2\0\0Mac OS X        ")
            (path.parent / "__MACOSX").mkdir(exist_ok=True)
            (path.parent / "__MACOSX" / f"._{path.name}").touch()
    after = check_manifest(adapter.manifest(), adapter.card())
    assert [row.sample_id for row in after.rows] == [row.sample_id for row in before.rows]
    assert [row.values.get("_image") for row in after.rows] == [
        row.values.get("_image") for row in before.rows
    ]
    assert after.rejected == before.rejected


def test_an_archive_is_told_to_be_unpacked(tmp_path):
    (tmp_path / "papila.zip").touch()
    for raw, message in (
        (tmp_path / "papila.zip", "is a file, not a folder"),
        (tmp_path, "it holds papila.zip"),
    ):
        with pytest.raises(UserError, match=message):
            make_adapter("papila", {"raw": raw}).manifest()
