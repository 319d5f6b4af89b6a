"""The account: its orders, fills, positions and balances, which stay consistent."""

from collections import deque
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field, replace
from decimal import ROUND_DOWN, Decimal
from typing import Any
from uuid import NAMESPACE_OID, uuid5

from simulator.candles import plain
from simulator.samples import compact, sample

Row = dict[str, Any]

USER_ID = 100200300
REMEMBERED_FILLS = 5000
REMEMBERED_ORDERS = 500
REMEMBERED_WALLETS = 300
GREEKS_EVERY_MS = 5000
COUNT_FROM_MS = 1_735_689_600_000  # 2025-01-01, so that sequences rise over restarts
TAKER_FEE, MAKER_FEE, SPOT_FEE = Decimal("0.00055"), Decimal("0.0002"), Decimal("0.001")
INITIAL_MARGIN, MAINTENANCE_MARGIN = Decimal("0.1"), Decimal("0.005")
SMALLEST = Decimal("0.00000001")
SIZES = {"BTCUSDT": Decimal("0.001"), "ETHUSDT": Decimal("0.01")}
# what happens, fill after fill; the list begins again when it is through
STORY = (
    ("market", "linear", "BTCUSDT", "Buy"),
    ("limit", "linear", "ETHUSDT", "Buy"),
    ("market", "linear", "BTCUSDT", "Sell"),
    ("market", "spot", "BTCUSDT", "Buy"),
    ("market", "linear", "BTCUSDT", "Sell"),
    ("limit", "linear", "ETHUSDT", "Sell"),
    ("market", "linear", "BTCUSDT", "Buy"),
    ("market", "spot", "BTCUSDT", "Sell"),
)


@dataclass(frozen=True, slots=True)
class Push:
    kind: str
    category: str
    text: str

    def as_topic(self, topic: str) -> str:
        """The message as a subscriber of this topic receives it."""
        return self.text.replace(f'"topic":"{self.kind}"', f'"topic":"{topic}"', 1)


@dataclass(slots=True)
class Coin:
    name: str
    wallet: Decimal
    price: Decimal
    borrowed: Decimal = Decimal(0)
    interest: Decimal = Decimal(0)
    unrealised: Decimal = Decimal(0)
    realised: Decimal = Decimal(0)
    initial_margin: Decimal = Decimal(0)
    maintenance_margin: Decimal = Decimal(0)
    silent_margins: bool = False
    overrides: Row = field(default_factory=dict)

    @property
    def equity(self) -> Decimal:
        return self.wallet + self.unrealised

    def values(self) -> Row:
        margin = (lambda _: "") if self.silent_margins else money
        return {
            "coin": self.name,
            "equity": money(self.equity),
            "usdValue": money(self.equity * self.price),
            "walletBalance": money(self.wallet),
            "availableToWithdraw": "",
            "availableToBorrow": "",
            "borrowAmount": money(self.borrowed),
            "accruedInterest": money(self.interest),
            "totalOrderIM": margin(Decimal(0)),
            "totalPositionIM": margin(self.initial_margin),
            "totalPositionMM": margin(self.maintenance_margin),
            "unrealisedPnl": money(self.unrealised),
            "cumRealisedPnl": money(self.realised),
            "bonus": "0",
            "locked": "0",
            "spotHedgingQty": "0",
            "spotBorrow": "0",
            **self.overrides,
        }


@dataclass(slots=True)
class Position:
    symbol: str
    created_ms: int
    size: Decimal = Decimal(0)
    entry: Decimal = Decimal(0)
    realised: Decimal = Decimal(0)
    mark: Decimal = Decimal(0)
    seq: int = 0
    updated_ms: int = 0

    def fill(self, signed: Decimal, price: Decimal) -> Decimal:
        """Apply a fill; return the profit that it realised."""
        closing = min(abs(signed), abs(self.size)) if signed * self.size < 0 else Decimal(0)
        gain = closing * (price - self.entry) * (1 if self.size > 0 else -1)
        after = self.size + signed
        if closing == 0:
            self.entry = (self.entry * abs(self.size) + price * abs(signed)) / abs(after)
        elif after * self.size <= 0:
            self.entry = price if after else Decimal(0)
        self.size = after
        return gain

    @property
    def unrealised(self) -> Decimal:
        return (self.mark - self.entry) * self.size


@dataclass(frozen=True, slots=True)
class Fill:
    category: str
    symbol: str
    side: str
    size: Decimal
    price: Decimal
    maker: bool
    at_ms: int
    seq: int
    order_id: str
    exec_id: str
    fee: Decimal
    rate: Decimal

    @property
    def value(self) -> Decimal:
        return self.size * self.price

    @property
    def signed(self) -> Decimal:
        return self.size if self.side == "Buy" else -self.size


class Account:
    def __init__(self, price_of: Callable[[str], Decimal], every_ms: int, now_ms: int) -> None:
        self._price_of = price_of
        self._every_ms = every_ms
        self._began_ms = now_ms
        self._due_ms = now_ms + every_ms
        self._greeks_due_ms = now_ms + GREEKS_EVERY_MS
        self._step = 0
        self._seq = 0
        self.coins = {coin.name: coin for coin in _opening_coins(price_of)}
        self._history: deque[tuple[int, dict[str, Coin]]] = deque(maxlen=REMEMBERED_WALLETS)
        self.positions = {symbol: Position(symbol, now_ms) for symbol in SIZES}
        self.fills: deque[Fill] = deque(maxlen=REMEMBERED_FILLS)
        self.closed_orders: deque[Row] = deque(maxlen=REMEMBERED_ORDERS)
        self.open_orders: dict[str, Row] = {}

    def passed(self, now_ms: int) -> list[Push]:
        pushes: list[Push] = []
        while self._due_ms <= now_ms:
            pushes += self._go_on(self._due_ms)
            self._due_ms += self._every_ms
        if self._greeks_due_ms <= now_ms:
            self._greeks_due_ms = now_ms + GREEKS_EVERY_MS
            pushes.append(self._greeks(now_ms))
        return pushes

    def set_wallet(self, coin: str, values: Row, now_ms: int) -> Push:
        """Set a balance and push it."""
        self._remember(now_ms)
        found = self.coins.setdefault(coin, Coin(coin, Decimal(0), self._coin_price(coin)))
        if "walletBalance" in values:
            found.wallet = Decimal(values["walletBalance"])
        found.overrides = found.overrides | {name: text for name, text in values.items() if name != "walletBalance"}
        return self.wallet_push([coin], now_ms)

    def wallet_push(self, names: list[str], now_ms: int) -> Push:
        body = sample("wallet")
        body |= {"id": f"{USER_ID}_wallet_{now_ms}", "creationTime": now_ms}
        account = body["data"][0]
        pattern = account["coin"][0]
        account |= totals(self.coins.values())
        account["coin"] = [pattern | self.coins[name].values() for name in names]
        return Push("wallet", "", compact(body))

    def coins_at(self, at_ms: int) -> dict[str, Coin]:
        """The balances at that time, as far back as they are remembered."""
        newer = [coins for until_ms, coins in self._history if until_ms > at_ms]
        return newer[0] if newer else self.coins

    def _remember(self, now_ms: int) -> None:
        self._history.append((now_ms, {name: replace(coin) for name, coin in self.coins.items()}))

    def _coin_price(self, coin: str) -> Decimal:
        return self._price_of(f"{coin}USDT") if f"{coin}USDT" in SIZES else Decimal(1)

    def _go_on(self, at_ms: int) -> Iterator[Push]:
        """The next fill of the story; a limit order is placed one step before it fills."""
        kind, category, symbol, side = STORY[self._step % len(STORY)]
        order_id = self._order_id(category, self._step)
        self._seq = max(self._seq + 1, (at_ms - COUNT_FROM_MS) * 100)
        fill = self._fill(category, symbol, side, order_id, kind == "limit", at_ms)
        self._step += 1
        yield from self._pushes(fill)
        yield from self._place_next(at_ms)

    def _fill(self, category: str, symbol: str, side: str, order_id: str, maker: bool, at_ms: int) -> Fill:
        placed = self.open_orders.get(order_id)
        price = Decimal(placed["price"]) if placed else self._price_of(symbol)
        rate = SPOT_FEE if category == "spot" else MAKER_FEE if maker else TAKER_FEE
        size = SIZES[symbol]
        exec_id = str(uuid5(NAMESPACE_OID, f"execution/{order_id}/{self._seq}"))
        if category == "spot":
            exec_id = str(2_100_000_000_000_000_000 + self._seq)
        fee = size * rate if (category, side) == ("spot", "Buy") else size * price * rate
        return Fill(
            category=category,
            symbol=symbol,
            side=side,
            size=size,
            price=price,
            maker=maker,
            at_ms=at_ms - 8,
            seq=self._seq,
            order_id=order_id,
            exec_id=exec_id,
            fee=_rounded(fee),
            rate=rate,
        )

    def _order_id(self, category: str, step: int) -> str:
        made = uuid5(NAMESPACE_OID, f"order/{self._began_ms}/{step}")
        return str(1_552_000_000_000_000_000 + made.int % 10**17) if category == "spot" else str(made)

    def _place_next(self, at_ms: int) -> Iterator[Push]:
        """Announce the limit order that the next step fills."""
        kind, category, symbol, side = STORY[self._step % len(STORY)]
        if kind != "limit":
            return
        order_id = self._order_id(category, self._step)
        self._seq += 1
        fill = self._fill(category, symbol, side, order_id, True, at_ms)
        row = self._order_row(fill) | {"orderStatus": "New", "orderType": "Limit", "timeInForce": "GTC"}
        row |= {"avgPrice": "", "leavesQty": plain(fill.size), "leavesValue": plain(fill.value)}
        row |= {"cumExecQty": "0", "cumExecValue": "0", "cumExecFee": "0", "cumFeeDetail": {}}
        row |= {"price": plain(fill.price), "updatedTime": str(at_ms), "createdTime": str(at_ms)}
        self.open_orders[order_id] = row
        yield self._order_push(fill, row, at_ms)
        yield self._position_push(symbol, at_ms)

    def _pushes(self, fill: Fill) -> Iterator[Push]:
        """All messages of one fill, in the order observed at the exchange."""
        self._remember(fill.at_ms)
        coins = self._settle(fill)
        created_ms = fill.at_ms + 1
        execution = execution_row(fill)
        self.fills.appendleft(fill)
        placed = self.open_orders.pop(fill.order_id, None)
        order = self._order_row(fill)
        if placed:
            order |= {"orderType": "Limit", "timeInForce": "GTC", "createdTime": placed["createdTime"]}
        self.closed_orders.appendleft(order)
        yield _fast_push(fill, created_ms)
        yield self._order_push(fill, order, created_ms + 4)
        body = sample(f"execution.{fill.category}")
        body |= {"topic": "execution", "id": _id(fill), "creationTime": created_ms + 4, "data": [execution]}
        yield Push("execution", fill.category, compact(body))
        if fill.category != "spot":
            yield self._position_push(fill.symbol, created_ms + 7)
        yield self.wallet_push(coins, created_ms + 7)

    def _settle(self, fill: Fill) -> list[str]:
        """Update balances and positions; return the coins that changed."""
        if fill.category == "spot":
            return self._settle_spot(fill)
        usdt, position = self.coins["USDT"], self.positions[fill.symbol]
        gain = _rounded(position.fill(fill.signed, fill.price)) - fill.fee
        position.realised += gain
        position.seq, position.updated_ms = fill.seq, fill.at_ms + 2
        for each in self.positions.values():
            each.mark = self._price_of(each.symbol)
        usdt.wallet += gain
        usdt.realised += gain
        usdt.unrealised = sum((p.unrealised for p in self.positions.values()), Decimal(0))
        exposure = sum((abs(p.size) * p.mark for p in self.positions.values()), Decimal(0))
        usdt.initial_margin = exposure * INITIAL_MARGIN
        usdt.maintenance_margin = exposure * MAINTENANCE_MARGIN
        return ["USDT"]

    def _settle_spot(self, fill: Fill) -> list[str]:
        base, usdt = self.coins[fill.symbol.removesuffix("USDT")], self.coins["USDT"]
        base.price = fill.price
        base.wallet += fill.signed
        usdt.wallet -= fill.signed * fill.price
        (base if fill.side == "Buy" else usdt).wallet -= fill.fee
        return [base.name, usdt.name]

    def _order_row(self, fill: Fill) -> Row:
        row: Row = sample(f"order.{fill.category}")["data"][0]
        row |= {"category": fill.category, "symbol": fill.symbol, "orderId": fill.order_id, "side": fill.side}
        row |= {"orderStatus": "Filled", "qty": plain(fill.size), "avgPrice": plain(fill.price)}
        row |= {"cumExecQty": plain(fill.size), "cumExecValue": money(fill.value), "cumExecFee": money(fill.fee)}
        row |= {"lastPriceOnCreated": plain(fill.price), "createdTime": str(fill.at_ms - 1)}
        row |= {"updatedTime": str(fill.at_ms + 2), "orderLinkId": ""}
        if "cumFeeDetail" in row:
            row["cumFeeDetail"] = {_fee_coin(fill): money(fill.fee)}
        if fill.category != "spot":
            row["price"] = plain(fill.price)
        return row

    def _order_push(self, fill: Fill, row: Row, created_ms: int) -> Push:
        body = sample(f"order.{fill.category}")
        body |= {"topic": "order", "id": _id(fill), "creationTime": created_ms, "data": [row]}
        return Push("order", fill.category, compact(body))

    def _position_push(self, symbol: str, created_ms: int) -> Push:
        body = sample("position")
        body |= {"id": f"{USER_ID}_position_{created_ms}", "creationTime": created_ms}
        body["data"][0] |= position_values(self.positions[symbol])
        return Push("position", "linear", compact(body))

    def _greeks(self, now_ms: int) -> Push:
        body = sample("greeks")
        made = uuid5(NAMESPACE_OID, f"greeks/{now_ms}")
        body |= {"id": f"{USER_ID}{made}", "creationTime": now_ms}
        body["data"][0]["totalDelta"] = f"0.0699{now_ms // 1000 % 10000:04d}"
        return Push("greeks", "", compact(body))


def totals(coins: Collection[Coin]) -> Row:
    """The sums over all coins, in dollars."""
    worth = sum((coin.wallet * coin.price for coin in coins), Decimal(0))
    equity = sum((coin.equity * coin.price for coin in coins), Decimal(0))
    open_profit = sum((coin.unrealised * coin.price for coin in coins), Decimal(0))
    initial = sum((coin.initial_margin for coin in coins), Decimal(0))
    maintenance = sum((coin.maintenance_margin for coin in coins), Decimal(0))
    margin = worth + open_profit
    return {
        "accountIMRate": _rate(initial, margin),
        "accountMMRate": _rate(maintenance, margin),
        "accountIMRateByMp": _rate(initial, margin),
        "accountMMRateByMp": _rate(maintenance, margin),
        "totalEquity": money(equity),
        "totalWalletBalance": money(worth),
        "totalMarginBalance": money(margin),
        "totalAvailableBalance": money(margin - initial),
        "totalPerpUPL": money(open_profit),
        "totalInitialMargin": money(initial),
        "totalMaintenanceMargin": money(maintenance),
        "totalInitialMarginByMp": money(initial),
        "totalMaintenanceMarginByMp": money(maintenance),
    }


def position_values(position: Position) -> Row:
    value = abs(position.size) * position.entry
    return {
        "symbol": position.symbol,
        "side": "Buy" if position.size > 0 else "Sell" if position.size < 0 else "",
        "size": plain(abs(position.size)),
        "entryPrice": money(position.entry),
        "sessionAvgPrice": money(position.entry),
        "positionValue": money(value),
        "markPrice": plain(position.mark),
        "positionIM": money(value * INITIAL_MARGIN),
        "positionMM": money(value * MAINTENANCE_MARGIN),
        "positionIMByMp": money(value * INITIAL_MARGIN),
        "positionMMByMp": money(value * MAINTENANCE_MARGIN),
        "unrealisedPnl": money(position.unrealised),
        "cumRealisedPnl": money(position.realised),
        "curRealisedPnl": money(position.realised),
        "createdTime": str(position.created_ms),
        "updatedTime": str(position.updated_ms or position.created_ms),
        "liqPrice": "",
        "breakEvenPrice": money(position.entry),
        "seq": position.seq or "-1",
    }


def execution_row(fill: Fill) -> Row:
    row: Row = sample(f"execution.{fill.category}")["data"][0]
    row |= {"category": fill.category, "symbol": fill.symbol, "closedSize": "0", "execId": fill.exec_id}
    row |= {"execFee": money(fill.fee), "execPrice": plain(fill.price), "execQty": plain(fill.size)}
    row |= {"execValue": money(fill.value), "feeRate": plain(fill.rate), "orderId": fill.order_id}
    row |= {"orderLinkId": "", "orderQty": plain(fill.size), "orderPrice": plain(fill.price), "side": fill.side}
    row |= {"orderType": "Limit" if fill.maker else "Market", "isMaker": fill.maker}
    row |= {"execTime": str(fill.at_ms), "seq": fill.seq}
    if fill.category != "spot":
        row |= {"markPrice": plain(fill.price), "execPnl": "0", "extraFees": "", "feeCurrency": "USDT"}
    return row


def _fast_push(fill: Fill, created_ms: int) -> Push:
    body = sample("execution.fast")
    body["creationTime"] = created_ms
    row = body["data"][0]
    row |= {"category": fill.category, "symbol": fill.symbol, "execId": fill.exec_id, "side": fill.side}
    row |= {"execPrice": plain(fill.price), "execQty": plain(fill.size), "orderId": fill.order_id}
    row |= {"isMaker": fill.maker, "execTime": str(fill.at_ms), "seq": fill.seq}
    return Push("execution.fast", fill.category, compact(body))


def _id(fill: Fill) -> str:
    """Shared by the order and the execution of one match."""
    return f"{USER_ID}_{fill.symbol}_{fill.seq}"


def _fee_coin(fill: Fill) -> str:
    spot_buy = fill.category == "spot" and fill.side == "Buy"
    return fill.symbol.removesuffix("USDT") if spot_buy else "USDT"


def _opening_coins(price_of: Callable[[str], Decimal]) -> Iterator[Coin]:
    one = Decimal(1)
    yield Coin("USDT", Decimal("10000"), one)
    yield Coin(
        "USDC",
        Decimal("-0.0664735"),
        Decimal("0.99983"),
        borrowed=Decimal("0.0679535"),
        interest=Decimal("0.00000022"),
        unrealised=Decimal("-0.00148"),
        realised=Decimal("-0.0664735"),
    )
    yield Coin("BTC", Decimal("0.5"), price_of("BTCUSDT"), silent_margins=True)
    yield Coin("ETH", Decimal("2.25"), price_of("ETHUSDT"), silent_margins=True)
    yield Coin("MNT", Decimal(0), one)


def _rounded(number: Decimal) -> Decimal:
    return number.quantize(SMALLEST, rounding=ROUND_DOWN)


def money(number: Decimal) -> str:
    rounded = _rounded(number)
    return "0" if rounded == 0 else plain(rounded)


def _rate(part: Decimal, whole: Decimal) -> str:
    return plain((part / whole).quantize(Decimal("0.0001"))) if whole > 0 else "0"
