import gzip

import pandas as pd
import pytest

from shards.adapter import Access
from shards.datasets._raw_folder import RawFolder
from shards.errors import UserError


@pytest.fixture
def folder(tmp_path):
    return RawFolder(tmp_path, "mine", Access("open", "https://example.org/mine", "Download it."))


def test_cells_are_stripped_texts_and_empty_ones_none(folder):
    (folder.path / "t.csv").write_text("\ufeffid, age \n 01 ,3.0\nNA,\nx\n", encoding="utf-8")
    table = folder.table("t.csv", columns=["id", "age"])
    assert table.to_dict("list") == {"id": ["01", "NA", "x"], "age": ["3.0", None, None]}


def test_rows_longer_than_the_header_are_refused_rather_than_moved_to_the_left(folder):
    (folder.path / "t.csv").write_text("id,age\na,1,9\nb,2,9\n")
    with pytest.raises(UserError, match=r"t\.csv cannot be read as a table.*https://example.org/mine"):
        folder.table("t.csv", columns=["id"])


HEADERS = ["id,size[w,h]", "id,size[w,h],", '"id","size[w,h]"']


@pytest.mark.parametrize("header", HEADERS)
def test_columns_are_named_by_their_place_where_a_header_holds_commas(folder, header):
    (folder.path / "t.csv").write_text(f"{header}\na,1,2\nb,3,4\n")
    table = folder.table("t.csv", columns=["id"], positions=["id", "w", "h"])
    assert table.to_dict("list") == {"id": ["a", "b"], "w": ["1", "3"], "h": ["2", "4"]}


def test_names_by_place_need_the_expected_header_at_the_front(folder):
    (folder.path / "t.csv").write_text("size[w,h],id\n1,2,a\n")
    with pytest.raises(UserError, match=r"lacks the column 'id'; expected id, found size\[w, h\], id"):
        folder.table("t.csv", columns=["id"], positions=["id", "w", "h"])


def test_files_cut_off_are_refused_by_name(folder):
    whole = gzip.compress(b"id,age\n" + b"a,1\n" * 5000, mtime=0)
    (folder.path / "t.csv.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match=r"t\.csv\.gz cannot be read as a table"):
        folder.table("t.csv.gz", columns=["id"])
    pd.DataFrame({"id": ["a"]}).to_excel(folder.path / "t.xlsx", index=False)
    whole = (folder.path / "t.xlsx").read_bytes()
    (folder.path / "t.xlsx").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match=r"t\.xlsx cannot be read as a table"):
        folder.table("t.xlsx", columns=["id"])
