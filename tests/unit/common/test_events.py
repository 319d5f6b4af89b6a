"""What an event looks like."""

import json

import pytest

from common import events


def rendered(subject: str = "publicTrade.BTCUSDT", time_ms: int | None = 1786310818123) -> bytes:
    form = events.Form(source="/bybit/mainnet/linear", type="bybit.trades", subject=subject, epoch="01J", origin="live")
    received_ns, data = 1786310818125431999, b'{ "topic" : "x" }'
    return form.render("0f8c2b6e5d7a4c1e9b3a7f60d2e41c58", time_ms, received_ns, 1842, data)


def test_an_event_is_the_documented_text():
    assert rendered() == (
        b'{"specversion":"1.0","id":"0f8c2b6e5d7a4c1e9b3a7f60d2e41c58","source":"/bybit/mainnet/linear",'
        b'"type":"bybit.trades","subject":"publicTrade.BTCUSDT","time":"2026-08-09T21:26:58.123Z",'
        b'"datacontenttype":"application/json","receivedtime":"2026-08-09T21:26:58.125431Z","epoch":"01J",'
        b'"sequence":"00000000000000001842","origin":"live","data":{ "topic" : "x" }}'
    )


def test_time_is_left_out_where_bybit_gives_none():
    assert "time" not in json.loads(rendered(time_ms=None))


def test_a_subject_with_symbols_of_json_stays_itself():
    hostile = 'tickers.A"B\\C/ü'
    assert json.loads(rendered(subject=events.escaped(hostile)))["subject"] == hostile


@pytest.mark.parametrize(("one", "other"), [((b"ab", b"c"), (b"a", b"bc")), ((b"a",), (b"a", b""))])
def test_a_digest_knows_where_its_parts_end(one: tuple[bytes, ...], other: tuple[bytes, ...]):
    assert events.digest(*one) != events.digest(*other)


def test_a_digest_is_the_same_in_every_life():
    assert events.digest(b"linear", b"publicTrade.BTCUSDT", b"{}") == "4993b316d4ebf4a1fe79f1e8847ca94b"
