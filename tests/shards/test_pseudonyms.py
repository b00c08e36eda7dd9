import hashlib
import hmac
import stat

import pytest

from shards.errors import UserError
from shards.pseudonyms import load_key, pseudonym


def test_names_are_those_of_hmac_sha256():
    assert (
        pseudonym("1.2.840.7", b"secret" * 4)
        == hmac.new(b"secret" * 4, b"1.2.840.7", hashlib.sha256).hexdigest()[:32]
    )


def test_another_key_gives_other_names():
    assert pseudonym("7", b"a" * 32) != pseudonym("7", b"b" * 32)
    assert pseudonym("7", b"a" * 32) != pseudonym("8", b"a" * 32)


def test_a_key_is_made_once_and_is_the_users_only(tmp_path):
    path = tmp_path / "keys" / "mine.key"
    key = load_key(path)
    assert len(key) == 32
    assert load_key(path) == key
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert load_key(tmp_path / "other.key") != key


@pytest.mark.parametrize("content", ["no hex", "", "ab" * 15])
def test_what_is_no_key_is_refused(tmp_path, content):
    (tmp_path / "k").write_text(content)
    with pytest.raises(UserError, match="key"):
        load_key(tmp_path / "k")
