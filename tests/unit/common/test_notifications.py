"""The nudge between processes: anybody may have written it."""

import json

import pytest

from common.notifications import Notification, decode, encode


def test_what_was_encoded_is_read():
    assert decode(encode(Notification(5, "trace"))) == Notification(5, "trace")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xff",
        b"[]",
        b"7",
        b"[" * 100_000,
        b'{"generation":1e999,"trace_id":null}',
        b'{"generation":"x","trace_id":1}',
    ],
)
def test_what_is_none_reads_as_one_that_knows_nothing(body: bytes):
    assert decode(body) == Notification(0, None)


def test_its_trace_id_is_fit_to_be_stored():
    found = decode(json.dumps({"generation": 1, "trace_id": "\x00\ud800" + "x" * 1000}).encode())
    assert found.trace_id == "\ufffd\ufffd" + "x" * 126
