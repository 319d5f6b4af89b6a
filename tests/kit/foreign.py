"""Hypothesis strategies for input from others: frames and JSON, close to the expected shape and far from it."""

import json
from typing import Any

from hypothesis import strategies as st

TOPICS = ("publicTrade.BTCUSDT", "orderbook.50.BTCUSDT", "tickers.BTCUSDT", "kline.1.BTCUSDT")
_FIELDS = [
    "i",
    "T",
    "u",
    "seq",
    "cs",
    "start",
    "confirm",
    "timestamp",
    "execId",
    "execTime",
    "orderId",
    "updatedTime",
    "orderStatus",
    "cumExecQty",
    "cancelType",
    "symbol",
    "baseCoin",
    "quoteCoin",
    "status",
    "category",
    "list",
    "coin",
    "nextPageCursor",
    "time",
    "timeNano",
    "expiredAt",
    "permissions",
    "successTopics",
    "failTopics",
]

scalars: st.SearchStrategy[Any] = st.sampled_from(
    [
        None,
        True,
        0,
        -1,
        5,
        10**15,
        10**30,
        0.5,
        1e300,
        "",
        "0",
        "1",
        "x",
        "a\x00b",
        "UNKNOWN",
        "Trading",
        "nan",
        "1700000000000",
        "9" * 23,
        "9" * 5000,
        "1e999",
        "1e9999999999999999999",
        [],
        [[]],
        {},
        [1],
        {"a": 1},
    ]
)
values = scalars | st.integers() | st.text(max_size=8)
rows = st.dictionaries(st.sampled_from(_FIELDS), values, max_size=6)
documents = st.fixed_dictionaries(
    {},
    optional={
        "topic": st.sampled_from(TOPICS) | values,
        "type": st.sampled_from(["snapshot", "delta", "COMMAND_RESP"]) | values,
        "data": st.lists(rows, max_size=3) | rows | values,
        "ts": values,
        "creationTime": values,
        "op": st.sampled_from(["pong", "ping", "auth", "subscribe", "unsubscribe"]) | values,
        "args": st.lists(values, max_size=2) | values,
        "success": values,
        "ret_msg": st.sampled_from(["pong", "follows:[a] [b]", "topic:publicTrade.BTCUSDT", "a\x00b"]) | values,
        "retCode": values,
        "req_id": st.sampled_from(["s1", "u1", "auth"]) | values,
    },
)


def deeply(depth: int) -> str:
    """JSON text that is nested to this depth."""
    return "[" * depth + "]" * depth


frames = (
    documents.map(lambda document: json.dumps(document).encode(errors="replace"))
    | values.map(lambda value: json.dumps(value).encode(errors="replace"))
    | st.binary(max_size=200)
    | st.sampled_from(
        [
            f'{{"op":"pong","args":["{"9" * 5000}"]}}'.encode(),
            f'{{"success":false,"ret_msg":{deeply(1000)},"req_id":"s1"}}'.encode(),
            f'{{"topic":"publicTrade.BTCUSDT","data":{deeply(1000)}}}'.encode(),
            b'{"topic":"publicTrade.BTCUSDT"}',
            b'{"topic":"publicTrade.BTCUSDT","data":null}',
            b'{"topic":"publicTrade.BTCUSDT","data":[{"T":null,"i":{"a":1}}]}',
            b'{"topic":"orderbook.50.BTCUSDT","data":{"u":[1],"seq":1}}',
            b'{"topic":"kline.1.BTCUSDT","data":[7]}',
        ]
    )
)
