import re

from hypothesis import example, given
from hypothesis import strategies as st

from shards.keys import MAX_KEY, encode_key

ids = st.text(st.characters(exclude_categories=[]), max_size=60)


def decode_key(key):
    """Read a short key back; independent of the encoder, so it proves that nothing is merged."""
    if key == "_e":
        return ""
    data, capitals, at = bytearray(), False, 0
    while at < len(key):
        if key[at] != "_":
            data += (key[at].upper() if capitals else key[at]).encode()
            at += 1
            continue
        code = key[at + 1]
        at += 2
        if code == "c":
            capitals = not capitals
        elif code == "x":
            data.append(int(key[at : at + 2], 16))
            at += 2
        else:
            data += {"_": b"_", "d": b".", "s": b"/"}[code]
    return data.decode("utf-8", "surrogatepass")


@given(ids)
@example("1.2.840.113619.2.55")
@example("Ünïcode ID/ß.PNG")
@example("")
def test_keys_are_safe_and_can_be_read_back(name):
    key = encode_key(name)
    assert re.fullmatch("[a-z0-9_-]+", key)
    assert len(key) <= MAX_KEY
    if not key.startswith("_h"):
        assert decode_key(key) == name


@given(ids, ids)
@example("a.b", "a_db")
@example("A", "a")
@example("AB", "Ab")
@example("a_", "a__")
def test_different_ids_have_different_keys(one, other):
    assert (encode_key(one) == encode_key(other)) == (one == other)


def test_long_ids_stay_short_different_and_recognisable():
    keys = {encode_key("Study.2024/" + "1.2.840." * 20 + str(number)) for number in range(50)}
    assert len(keys) == 50
    assert all(len(key) <= MAX_KEY and re.fullmatch("_h[0-9a-f]{64}-study-2024-1-2-8", key) for key in keys)


def test_no_short_key_looks_like_a_long_one():
    long = encode_key("x" * 200)
    assert encode_key(long) != long


def test_plain_ids_are_their_own_keys():
    assert encode_key("patient-12") == "patient-12"
