"""JSON whose outer parts keep their text."""

import json
from decimal import Decimal
from json.decoder import scanstring  # type: ignore[attr-defined]
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from persister.raw_json import RawPart, parse


def plain(part: Any) -> Any:
    value = part.value if isinstance(part, RawPart) else part
    if isinstance(value, dict):
        return {name: plain(each) for name, each in value.items()}
    return [plain(each) for each in value] if isinstance(value, list) else value


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
)


@given(json_values, st.integers(0, 6), st.sampled_from([None, 1]))
def test_it_reads_what_json_reads_at_any_depth(value: Any, depth: int, indent: int | None) -> None:
    text = f" {json.dumps(value, indent=indent)}\n"
    found = parse(text, depth)
    assert plain(found) == value
    assert not isinstance(found, RawPart) or found.text == text.strip()


def test_each_outer_part_keeps_its_text() -> None:
    part = parse('{ "a" : [1.50 , {"b":1e-8} ], "c" : "d" }', depth=2)
    assert (part.text[:5], part.value["c"]) == ('{ "a"', "d")
    assert part.value["a"].text == '[1.50 , {"b":1e-8} ]'
    number, inner = part.value["a"].value
    assert (str(number), inner.text, inner.value) == ("1.50", '{"b":1e-8}', {"b": Decimal("1e-8")})


def test_numbers_keep_every_digit() -> None:
    digits = "1234567890123456789012345678901234567890.10"
    assert str(parse(f"[{digits}]", 1).value[0]) == digits


def test_of_equal_names_the_last_one_counts():
    part = parse('{"a": "1", "a": [2], "a": "3"}', 1)
    assert (part.value, part.text) == ({"a": "3"}, '{"a": "1", "a": [2], "a": "3"}')


def test_below_the_outer_levels_any_depth_is_read():
    text = "[" * 500 + "]" * 500
    part = parse(text, 2)
    assert part.value[0].text == text[1:-1]
    assert isinstance(part.value[0].value[0].value, list)


def test_what_we_use_of_the_standard_library_without_its_documentation_is_there():
    assert scanstring('"a\\n" and more', 1, True) == ("a\n", 5)
    assert json.JSONDecoder(parse_float=Decimal).scan_once("x [1.50] y", 2) == ([Decimal("1.50")], 8)  # type: ignore[attr-defined]
    with pytest.raises(StopIteration):
        json.JSONDecoder().scan_once("x", 0)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "text",
    [
        "", " ", "{", "[", "[1", "[1,]", "[,1]", "{}}", "{,}", '{"a"}', '{"a":}', '{"a":1,}', '{a:1}', '{"a" 1}',
        "[1 2]", "nul", "[NaN]", "[Infinity]", "NaN", "[1] 2", '"\n"', '{"a":"\n"}', "[" * 100_000,
        "[1e99999999999999999999]",
    ],
)  # fmt: skip
def test_what_is_not_json_is_refused(text: str) -> None:
    for depth in (0, 1, 5):
        with pytest.raises(ValueError, match=r"JSON|Expecting|Invalid|Unterminated|Illegal"):
            parse(text, depth)
