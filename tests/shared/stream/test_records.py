import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import BadInput, TooLarge
from shared.stream.records import MAX_VALUE_BYTES, decode, encode, encode_key, key_text


@given(
    st.dictionaries(
        st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00")),
        st.one_of(
            st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00")), st.integers(-9, 9)
        ),
    )
)
def test_what_is_encoded_comes_back_with_its_version(value: dict[str, object]) -> None:
    assert decode(encode(value)) == {**value, "v": 1}


@pytest.mark.parametrize(
    "value, why",
    [
        (None, "no value"),
        (b"", "no JSON"),
        (b"{", "no JSON"),
        (b"\xff\xfe", "no UTF-8 at byte 0"),
        (b"[1]", "a JSON list"),
        (b'"text"', "a JSON str"),
        (b"{}", "version None"),
        (b'{"v":2}', "version 2"),
        (b'{"v":true}', "version True"),
        (b'{"v":1,"x":NaN}', "NaN is no JSON number"),
        (b'{"v":1,"x":"a\\u0000b"}', "NUL"),
        (b'{"v":1,"a\\u0000b":1}', "NUL"),
        (b'{"v":1,"x":[{"y":"\\ud800"}]}', "surrogate"),
        (b'{"v":1,"x":"\x00"}', "no JSON"),
        (b'{"v":1,"x":' + b"[" * 100_000, "no JSON"),
        (b'{"v":1,"x":' + b"9" * 5_000 + b"}", "no JSON"),
    ],
)
def test_what_is_no_record_is_refused_with_the_reason(value: bytes | None, why: str) -> None:
    with pytest.raises(BadInput, match=why):
        decode(value)


def test_an_escaped_backslash_before_u0000_is_no_nul() -> None:
    assert decode(encode({"x": r"C:\u0000"}))["x"] == r"C:\u0000"


def test_too_large_values_are_refused_both_ways() -> None:
    with pytest.raises(TooLarge, match="1,000,000"):
        encode({"text": "x" * MAX_VALUE_BYTES})
    with pytest.raises(TooLarge, match="2,000,0"):
        decode(json.dumps({"v": 1, "text": "x" * 2_000_000}).encode())


@pytest.mark.parametrize("value", [{"x": "a\x00b"}, {"x": "\ud800"}, {"x": float("nan")}, {"x": object()}])
def test_what_no_database_keeps_is_never_sent(value: dict[str, object]) -> None:
    with pytest.raises(BadInput):
        encode(value)


@pytest.mark.parametrize("key", ["", "a\x00b", "\ud800", "x" * 1_001])
def test_keys_have_a_form(key: str) -> None:
    with pytest.raises(BadInput, match="key"):
        encode_key(key)


def test_a_strange_key_is_kept_as_text() -> None:
    assert key_text(b"a\xff\x00") == "a\\xff\\x00"
    assert key_text(None) is None
