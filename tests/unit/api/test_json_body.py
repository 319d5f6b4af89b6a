"""JSON as strictly as it is defined."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.http import json_body
from api.http.errors import ApiError


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"{'a': 1}",
        b'{"a": 1,}',
        b'{"a": NaN}',
        b'{"a": Infinity}',
        b'{"a": 1e999}',
        b'{"a": 1, "a": 2}',
        b'{"a": {"b": 1, "b": 1}}',
        b'{"a": "\\u0000"}',
        b'{"\\u0000": 1}',
        b'{"a": "\\ud800"}',
        b'{"a": "\xff"}',
        b'\xef\xbb\xbf{"a": 1}',
        '{"a": 1}'.encode("utf-16"),
        b'{"a": ' + b"9" * 5000 + b"}",
        b'{"a": 1} {"a": 1}',
    ],
)
def test_what_is_not_well_formed_is_refused(body: bytes):
    with pytest.raises(ApiError) as refused:
        json_body.parsed(body)
    assert (refused.value.status, refused.value.code) == (400, "malformed_json")


def test_a_value_that_json_does_not_know_is_named():
    with pytest.raises(ApiError, match="NaN is not valid JSON"):
        json_body.parsed(b'{"a": NaN}')


@pytest.mark.parametrize("body", [b"[" * 8 + b"1" + b"]" * 8, b'{"a":' * 8 + b'"x"' + b"}" * 8, b"1"])
def test_eight_levels_are_read(body: bytes):
    assert json_body.parsed(body) == json.loads(body)


@pytest.mark.parametrize("depth", [9, 500, 30_000])
def test_what_nests_too_deep_is_refused(depth: int):
    with pytest.raises(ApiError) as refused:
        json_body.parsed(b"[" * depth + b"]" * depth)
    assert refused.value.code == "too_deep"


def test_eight_levels_are_fine():
    assert json_body.parsed(b"[" * 8 + b"]" * 8) is not None


def values() -> st.SearchStrategy[Any]:
    text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
    finite = st.floats(allow_nan=False, allow_infinity=False)
    plain = st.none() | st.booleans() | st.integers(-(2**60), 2**60) | text | finite
    return st.recursive(plain, lambda inner: st.lists(inner) | st.dictionaries(text, inner), max_leaves=6)


def read(body: bytes) -> tuple[Any, ApiError | None]:
    try:
        return json_body.parsed(body), None
    except ApiError as refusal:
        return None, refusal


@given(values())
def test_well_formed_json_means_what_it_says(value: Any):
    found, refusal = read(json.dumps(value).encode())
    if refusal:
        assert refusal.code == "too_deep"
    else:
        assert found == value


@given(st.binary(max_size=200))
def test_no_bytes_break_it(body: bytes):
    _, refusal = read(body)
    assert refusal is None or refusal.status == 400
