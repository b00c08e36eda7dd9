import subprocess
import sys

import pytest

from shards.adapter import Adapter
from shards.datasets import adapter_class, adapter_names, make_adapter
from shards.errors import UserError


@pytest.mark.parametrize("name", adapter_names())
def test_every_listed_adapter_exists_under_its_name(name):
    kind = adapter_class(name)
    assert issubclass(kind, Adapter)
    assert kind.name == name
    assert kind.summary
    assert adapter_class(name.replace("-", "_").upper()) is kind


def test_an_unknown_dataset_is_named_with_its_neighbour():
    with pytest.raises(UserError, match="unknown dataset 'ham1000'; did you mean 'ham10000'"):
        make_adapter("ham1000", {})


def test_an_unknown_option_is_named_with_its_neighbour():
    with pytest.raises(
        UserError, match=r"dataset 'phantom-cxr'\.subjcts: unknown key; did you mean 'subjects'"
    ):
        make_adapter("phantom-cxr", {"subjcts": 3})


def test_missing_and_wrong_options_are_told_together():
    with pytest.raises(UserError) as caught:
        make_adapter("table", {"image": 5})
    text = str(caught.value)
    assert "dataset 'table'.table: required" in text
    assert "dataset 'table'.subject: required" in text
    assert "dataset 'table'.image" in text


def test_hyphens_in_options_are_accepted():
    options = {"table": "t.csv", "subject": "s", "images-root": "pictures"}
    assert str(make_adapter("table", options).images_root) == "pictures"


def test_listing_the_datasets_imports_no_table_library():
    code = (
        "import sys; from shards.datasets import adapter_names, adapter_class; "
        "[adapter_class(name).summary for name in adapter_names()]; "
        "assert not {'pandas', 'pyarrow', 'torch'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
