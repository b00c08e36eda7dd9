import hashlib
import io
import json
import tarfile
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from shards.archives import Archives, files_of
from shards.errors import UserError
from shards.fetch import fetch, unpack

BYTES = bytes(range(256)) * 5000


class Server:
    """An archive on loopback: answers by path, can break off, and remembers what it was asked for."""

    def __init__(self):
        self.content = {}
        self.asked = []
        self.stop_after = None
        self.ranges = True
        self.tag = '"one"'
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                outer.answer(self)

            def log_message(self, *_):
                return

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.root = f"http://127.0.0.1:{self.http.server_port}"
        threading.Thread(target=self.http.serve_forever, daemon=True).start()

    def answer(self, request):
        span = request.headers.get("Range")
        self.asked.append((request.path, span))
        if request.path not in self.content:
            request.send_error(404)
            return
        data, start = self.content[request.path], 0
        if span and self.ranges and request.headers.get("If-Range") in (None, self.tag):
            start = int(span.removeprefix("bytes=").removesuffix("-"))
            if start >= len(data):
                request.send_error(416)
                return
        request.send_response(206 if start else 200)
        request.send_header("Content-Length", str(len(data) - start))
        request.send_header("ETag", self.tag)
        request.end_headers()
        sent = data[start:] if self.stop_after is None else data[start : start + self.stop_after]
        request.wfile.write(sent)
        request.close_connection = True


@pytest.fixture
def server():
    made = Server()
    yield made
    made.http.shutdown()
    made.http.server_close()


def zenodo(server, files):
    """Publish files as a Zenodo record that says their md5."""
    listed = []
    for name, data in files.items():
        server.content[f"/files/{name}"] = data
        md5 = hashlib.md5(data).hexdigest()
        link = {"self": f"{server.root}/files/{name}"}
        listed.append({"key": name, "links": link, "size": len(data), "checksum": f"md5:{md5}"})
    server.content["/api/records/7"] = json.dumps({"files": listed}).encode()
    return Archives(zenodo=f"{server.root}/api")


def zipped(files):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return buffer.getvalue()


def test_files_of_a_record_are_downloaded_checked_and_not_transferred_twice(server, tmp_path):
    archives = zenodo(server, {"table.csv": b"a,b\n", "big.bin": BYTES})
    told = []
    paths = fetch(["zenodo:7"], tmp_path / "raw", archives=archives, tell=told.append)
    assert [path.name for path in paths] == ["big.bin", "table.csv"]
    assert paths[0].read_bytes() == BYTES
    assert told[-1].done == told[-1].total == 4
    assert max(one.done for one in told) == len(BYTES)
    server.asked.clear()
    fetch(["zenodo:7"], tmp_path / "raw", archives=archives)
    assert [path for path, _ in server.asked] == ["/api/records/7"]
    assert sorted(path.name for path in (tmp_path / "raw").iterdir()) == ["big.bin", "table.csv"]


def test_interrupted_download_goes_on_where_it_stopped(server, tmp_path):
    archives = zenodo(server, {"big.bin": BYTES})
    server.stop_after = 300_000
    with pytest.raises(UserError, match=r"big\.bin .*repeat the command"):
        fetch(["zenodo:7"], tmp_path, archives=archives)
    assert not (tmp_path / "big.bin").exists()
    server.stop_after = None
    (path,) = fetch(["zenodo:7"], tmp_path, archives=archives)
    assert path.read_bytes() == BYTES
    assert server.asked[-1] == ("/files/big.bin", "bytes=300000-")


@pytest.mark.parametrize("ranges", [True, False])
def test_another_file_or_a_server_without_ranges_is_downloaded_from_the_beginning(server, tmp_path, ranges):
    archives = zenodo(server, {"big.bin": BYTES})
    server.stop_after = 300_000
    with pytest.raises(UserError, match="repeat the command"):
        fetch(["zenodo:7"], tmp_path, archives=archives)
    server.stop_after, server.tag, server.ranges = None, '"two"', ranges
    archives = zenodo(server, {"big.bin": BYTES[::-1]})
    (path,) = fetch(["zenodo:7"], tmp_path, archives=archives)
    assert path.read_bytes() == BYTES[::-1]


def test_altered_bytes_never_get_the_name(server, tmp_path):
    archives = zenodo(server, {"big.bin": BYTES})
    server.content["/files/big.bin"] = BYTES[:-1] + b"\0"
    with pytest.raises(
        UserError, match=r"big\.bin is not the file that its archive describes.*expected md5:"
    ):
        fetch(["zenodo:7"], tmp_path, archives=archives)
    assert list(tmp_path.iterdir()) == []


def test_archives_are_unpacked_into_a_folder_of_their_name(server, tmp_path):
    loose = zipped({"a.jpg": "1", "b.jpg": "2"})
    own = zipped({"own/x/c.jpg": "3", "__MACOSX/junk": ""})
    archives = zenodo(server, {"part_1.zip": loose, "own.zip": own})
    fetch(["zenodo:7"], tmp_path, archives=archives)
    assert (tmp_path / "part_1" / "b.jpg").read_text() == "2"
    assert (tmp_path / "own" / "x" / "c.jpg").read_text() == "3"
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_nothing_is_written_outside_of_the_folder(tmp_path):
    path = tmp_path / "in" / "bad.zip"
    path.parent.mkdir()
    path.write_bytes(zipped({"../outside": "x"}))
    with pytest.raises(UserError, match="would be written outside"):
        unpack(path)
    packed = tmp_path / "in" / "bad.tar"
    with tarfile.open(packed, "w") as archive:
        info = tarfile.TarInfo("../outside")
        archive.addfile(info, io.BytesIO())
    with pytest.raises(UserError, match="cannot be unpacked"):
        unpack(packed)
    assert sorted(entry.name for entry in tmp_path.rglob("*")) == ["bad.tar", "bad.zip", "in"]


def test_damaged_archive_is_named(tmp_path):
    path = tmp_path / "cut.zip"
    path.write_bytes(zipped({"a": "1"})[:-30])
    with pytest.raises(UserError, match=r"cut\.zip cannot be unpacked"):
        unpack(path)
    assert unpack(tmp_path / "table.csv") is None


def test_figshare_and_dataverse_records_are_understood(server):
    figshare = [{"name": "x.zip", "download_url": "https://files/x", "size": 3, "computed_md5": "ab"}]
    server.content["/articles/5/files?page_size=1000"] = json.dumps(figshare).encode()
    plain = {
        "id": 11,
        "filename": "images.zip",
        "filesize": 9,
        "checksum": {"type": "SHA-256", "value": "cd"},
    }
    table = {
        "id": 12,
        "filename": "facts.tab",
        "filesize": 8,
        "originalFileName": "facts.csv",
        "originalFileSize": 7,
        "checksum": {"type": "MD5", "value": "ef"},
    }
    files = [{"dataFile": plain}, {"dataFile": table}]
    address = "/datasets/:persistentId/?persistentId=doi%3A10.1%2FX"
    server.content[address] = json.dumps({"data": {"latestVersion": {"files": files}}}).encode()
    archives = Archives(figshare=server.root, dataverse=server.root)
    (one,) = files_of("figshare:5", archives)
    assert (one.name, one.address, one.size, one.checksum) == ("x.zip", "https://files/x", 3, "md5:ab")
    facts, images = files_of("dataverse:doi:10.1/X", archives)
    assert (facts.name, facts.size, facts.checksum) == ("facts.csv", 7, "md5:ef")
    assert facts.address == f"{server.root}/access/datafile/12?format=original"
    assert (images.name, images.checksum) == ("images.zip", "sha256:cd")


def test_plain_address_may_carry_the_name_that_the_file_gets(server, tmp_path):
    server.content["/static/x9.gz"] = BYTES
    (path,) = fetch([f"{server.root}/static/x9.gz#images_001.bin"], tmp_path)
    assert (path.name, path.read_bytes()) == ("images_001.bin", BYTES)
    fetch([f"{server.root}/static/x9.gz#images_001.bin"], tmp_path)
    assert len(server.asked) == 1


def test_records_that_cannot_be_had_are_named(server, tmp_path):
    archives = Archives(zenodo=f"{server.root}/api")
    with pytest.raises(UserError, match="answered 404"):
        files_of("zenodo:8", archives)
    server.content["/api/records/9"] = b'{"entries": []}'
    with pytest.raises(UserError, match="in a way that is not known"):
        files_of("zenodo:9", archives)
    hostile = {"key": "../../evil", "links": {"self": "http://x"}, "size": 1, "checksum": "md5:0"}
    server.content["/api/records/10"] = json.dumps({"files": [hostile]}).encode()
    with pytest.raises(UserError, match="evil"):
        files_of("zenodo:10", archives)
    local = {"key": "a", "links": {"self": "file:///etc/passwd"}, "size": 1, "checksum": "md5:0"}
    server.content["/api/records/11"] = json.dumps({"files": [local]}).encode()
    with pytest.raises(UserError, match="file:///etc/passwd"):
        files_of("zenodo:11", archives)
    with pytest.raises(UserError, match="must start with zenodo, figshare, dataverse"):
        files_of("ftp:7")
    with pytest.raises(UserError, match="cannot be reached"):
        files_of("zenodo:8", Archives(zenodo="http://127.0.0.1:9/api"))


def altered(data, *changes):
    """Change bytes of an archive's two headers of its first member: (place in its directory, place before it, value)."""
    found = bytearray(data)
    start = found.find(b"PK\x01\x02")
    for listed, local, value in changes:
        found[start + listed] = found[local] = value
    return bytes(found)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ((8, 6, 1), "encrypted"),
        ((10, 8, 9), "compression method"),
        ((10, 8, 8), "invalid"),
    ],
)
def test_archives_that_python_cannot_unpack_are_named_and_leave_nothing_behind(tmp_path, change, reason):
    path = tmp_path / "odd.zip"
    path.write_bytes(altered(zipped({"a": "\xff" * 100}), change))
    with pytest.raises(UserError, match=rf"odd\.zip cannot be unpacked \(.*{reason}.*by hand into"):
        unpack(path)
    assert list(tmp_path.iterdir()) == [path]
