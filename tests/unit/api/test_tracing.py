"""One trace id per request."""

import re

import pytest
from werkzeug.datastructures import Headers

from api.http.tracing import trace_id

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.mark.parametrize("given", ["abc", "A-1_2.3:4/5=+", "x" * 128])
def test_the_callers_own_is_kept(given: str):
    assert trace_id(Headers({"X-Request-ID": given, "traceparent": PARENT})) == given


def test_a_traceparent_lends_its_trace():
    assert trace_id(Headers({"traceparent": PARENT})) == "0af7651916cd43dd8448eb211c80319c"


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"X-Request-ID": ""},
        {"X-Request-ID": "x" * 129},
        {"X-Request-ID": "a b"},
        {"X-Request-ID": '"}{"'},
        {"X-Request-ID": "é"},
        {"traceparent": "00-" + "0" * 32 + "-b7ad6b7169203331-01"},
        {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-" + "0" * 16 + "-01"},
        {"traceparent": PARENT.upper()},
        {"traceparent": "nonsense"},
    ],
)
def test_an_invalid_trace_id_is_replaced_by_a_new_one(headers: dict[str, str]):
    first, second = (trace_id(Headers(headers)) for _ in range(2))
    assert re.fullmatch("[0-9a-f]{32}", first)
    assert first != second
