"""Messages in the form of each endpoint, with its order of keys."""

from typing import Any

from simulator.books import Change
from simulator.candles import Trade
from simulator.samples import compact

Row = dict[str, Any]


def trimmed(number: str) -> str:
    return (number.rstrip("0").rstrip(".") or "0") if "." in number else number


def book(category: str, depth: int, symbol: str, kind: str, levels: Change, u: int, seq: int, ts: int, cts: int) -> str:
    topic = f"orderbook.{depth}.{symbol}"
    tidy = trimmed if category in ("spot", "option", "spread") or depth == 1 else str
    bids = [[tidy(price), tidy(size)] for price, size in levels.bids]
    asks = [[tidy(price), tidy(size)] for price, size in levels.asks]
    data = {"s": symbol, "b": bids, "a": asks, "u": u, "seq": seq}
    if category in ("linear", "inverse") and depth > 1:
        return compact({"topic": topic, "type": kind, "ts": ts, "data": data, "cts": cts})
    head = {"topic": topic, "ts": ts, "type": kind}
    if category == "option":
        head["id"] = f"{topic}-{seq}-{ts}"
    return compact({**head, "data": data, "cts": cts})


def ticker(category: str, kind: str, data: Row, cs: int, ts: int) -> str:
    topic = f"tickers.{data['symbol']}"
    match category:
        case "spot":
            return compact({"topic": topic, "ts": ts, "type": kind, "cs": cs, "data": data})
        case "option":
            return compact({"topic": topic, "ts": ts, "type": kind, "id": f"{topic}-{cs}-{ts}", "data": data})
        case "spread":
            return compact({"topic": topic, "ts": ts, "type": kind, "data": data})
        case _:
            return compact({"topic": topic, "type": kind, "data": data, "cs": cs, "ts": ts})


def trades(category: str, topic: str, rows: list[Row], seq: int, ts: int) -> str:
    match category:
        case "spot" | "spread":
            return compact({"topic": topic, "ts": ts, "type": "snapshot", "data": rows})
        case "option":
            unique = f"{topic}-{seq}-{ts}"
            return compact({"topic": topic, "ts": ts, "type": "snapshot", "id": unique, "data": rows})
        case _:
            return compact({"topic": topic, "type": "snapshot", "ts": ts, "data": rows})


def trade_row(category: str, trade: Trade, index: str) -> Row:
    match category:
        case "spot":
            head: Row = {"i": trade.id, "T": trade.at_ms, "p": trimmed(trade.price), "v": trimmed(trade.size)}
            return {**head, "S": trade.side, "seq": trade.seq, "s": trade.symbol, "BT": False, "RPI": False}
        case "option":
            head = {"i": trade.id, "T": trade.at_ms, "p": trimmed(trade.price), "v": trimmed(trade.size)}
            head |= {"S": trade.side, "seq": trade.seq, "s": trade.symbol, "BT": False}
            return {**head, "mP": trimmed(trade.price), "iP": index, "mIv": "0.1389", "iv": "0.14"}
        case _:
            head = {"T": trade.at_ms, "s": trade.symbol, "S": trade.side, "v": trade.size, "p": trade.price}
            head |= {"L": trade.direction, "i": trade.id}
            marks = {} if category == "spread" else {"BT": False, "RPI": False}
            return {**head, **marks, "seq": trade.seq}


def kline(category: str, topic: str, entries: list[Row], ts: int) -> list[str]:
    """One frame, but spot sends the end of a candle and the next one in two."""
    if category == "spot":
        return [compact({"type": "snapshot", "topic": topic, "data": [row], "ts": ts}) for row in entries]
    return [compact({"topic": topic, "data": entries, "ts": ts, "type": "snapshot"})]


def liquidation(symbol: str, rows: list[Row], ts: int) -> str:
    return compact({"topic": f"allLiquidation.{symbol}", "type": "snapshot", "ts": ts, "data": rows})


def price_limit(symbol: str, highest_buy: str, lowest_sell: str, ts: int) -> str:
    data = {"symbol": symbol, "buyLmt": highest_buy, "sellLmt": lowest_sell}
    return compact({"topic": f"priceLimit.{symbol}", "data": data, "ts": ts})


def pool(topic: str, kind: str, rows: list[Row], ts: int) -> str:
    """Insurance pools and deleveraging alerts."""
    return compact({"topic": topic, "type": kind, "ts": ts, "data": rows})


def event_ticker(topic: str, symbol: str, probability: str, payout: str, ts: int) -> str:
    row = {"symbol": symbol, "wp": probability, "pr": payout}
    return compact({"topic": topic, "type": "snapshot", "ts": ts, "data": [row]})


def system_status(rows: list[Row], ts: int) -> str:
    return compact({"topic": "system.status", "ts": ts, "data": rows})
