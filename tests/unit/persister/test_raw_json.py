"""JSON whose outer parts keep their text."""

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from persister.raw_json import Part, parse


def plain(part: Any) -> Any:
    value = part.value if isinstance(part, Part) else part
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
    assert not isinstance(found, Part) or found.text == text.strip()


def test_each_outer_part_keeps_its_text() -> None:
    part = parse('{ "a" : [1.50 , {"b":1e-8} ], "c" : "d" }', depth=2)
    assert (part.text[:5], part.value["c"]) == ('{ "a"', "d")
    assert part.value["a"].text == '[1.50 , {"b":1e-8} ]'
    number, inner = part.value["a"].value
    assert (str(number), inner.text, inner.value) == ("1.50", '{"b":1e-8}', {"b": Decimal("1e-8")})


def test_numbers_keep_every_digit() -> None:
    digits = "1234567890123456789012345678901234567890.10"
    assert str(parse(f"[{digits}]", 1).value[0]) == digits


@pytest.mark.parametrize(
    "text",
    [
        "", " ", "{", "[", "[1", "[1,]", "[,1]", "{}}", "{,}", '{"a"}', '{"a":}', '{"a":1,}', '{a:1}', '{"a" 1}',
        "[1 2]", "nul", "[NaN]", "[Infinity]", "NaN", "[1] 2", '"\n"', '{"a":"\n"}', "[" * 100_000,
        "[1e99999999999999999999]",
    ],
)  # fmt: skip
def test_what_is_no_json_is_refused(text: str) -> None:
    for depth in (0, 1, 5):
        with pytest.raises(ValueError, match=r"JSON|Expecting|Invalid|Unterminated|Illegal"):
            parse(text, depth)
