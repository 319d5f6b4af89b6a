"""The instruments each endpoint lists, with a price to start from."""

import gzip
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import product
from typing import Any
from zlib import crc32

from simulator.recordings import resource
from simulator.samples import compact, sample

Row = dict[str, Any]

LINEAR_FILE = "linear.instruments.json.gz"
ALWAYS_LISTED_OPTION = ("BTC", "25JUN27", 106000, "P")  # the recorded one, also when it has expired
MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")  # in any locale
KNOWN_PRICES = {"BTC": "65114.30", "ETH": "1922.48", "SOL": "77.310", "DOGE": "0.07054", "XRP": "1.1042"}
USDC_PAIRS = 60
INVERSE_BASES = ("ADA", "BTC", "DOGE", "DOT", "ETH", "LTC", "SOL", "XRP")
OPTION_BASES = {"BTC": (Decimal(5), 2000), "ETH": (Decimal("0.1"), 50), "SOL": (Decimal("0.01"), 2)}
OPTION_EXPIRY_HOUR = 8
SPREAD_SYMBOLS = ("BTCUSDT_BTC/USDT", "ETHUSDT_ETH/USDT", "SOLUSDT_SOL/USDT")


@dataclass(frozen=True, slots=True)
class Instrument:
    category: str
    symbol: str
    base: str
    quote: str
    status: str
    tick: Decimal
    step: Decimal
    price: Decimal
    row: str

    @property
    def dated(self) -> bool:
        return self.category in ("linear", "inverse") and ("-" in self.symbol or self.symbol[-1].isdigit())


class Catalogue:
    def __init__(self, listed: Iterable[Instrument]) -> None:
        self._listed: dict[str, dict[str, Instrument]] = {}
        for instrument in listed:
            self._listed.setdefault(instrument.category, {})[instrument.symbol] = instrument

    def find(self, category: str, symbol: str) -> Instrument | None:
        return self._listed.get(category, {}).get(symbol)

    def of(self, category: str) -> list[Instrument]:
        return list(self._listed.get(category, {}).values())

    def bases(self, category: str) -> set[str]:
        return {instrument.base for instrument in self.of(category)}


def catalogue(now_ms: int) -> Catalogue:
    """Everything listed at this moment; option expiries depend on the date."""
    rows = json.loads(gzip.decompress(resource(LINEAR_FILE)))["result"]["list"]
    linear = [_from_linear(row) for row in rows]
    prices = _base_prices(linear)
    return Catalogue(
        [
            *linear,
            *_spot(linear, prices),
            *_inverse(prices, now_ms),
            *_options(prices, now_ms),
            *_spreads(),
        ]
    )


def _from_linear(row: Row) -> Instrument:
    tick = Decimal(row["priceFilter"]["tickSize"])
    return Instrument(
        category="linear",
        symbol=row["symbol"],
        base=row["baseCoin"],
        quote=row["quoteCoin"],
        status=row["status"],
        tick=tick,
        step=Decimal(row["lotSizeFilter"]["qtyStep"]),
        price=_plausible_price(row["baseCoin"], tick),
        row=compact(row),
    )


def _plausible_price(base: str, tick: Decimal) -> Decimal:
    if base in KNOWN_PRICES:
        return _on_tick(Decimal(KNOWN_PRICES[base]), tick)
    return tick * (4000 + crc32(base.encode()) % 30000)


def _on_tick(price: Decimal, tick: Decimal) -> Decimal:
    return max(round(price / tick), 1) * tick


def _base_prices(linear: Iterable[Instrument]) -> Mapping[str, Decimal]:
    perpetuals = (i for i in linear if i.quote == "USDT" and i.symbol == f"{i.base}USDT")
    return {instrument.base: instrument.price for instrument in perpetuals}


def _spot(linear: Iterable[Instrument], prices: Mapping[str, Decimal]) -> Iterator[Instrument]:
    ticks = {i.base: i.tick for i in linear if i.base in prices and i.symbol == f"{i.base}USDT"}
    plain = [base for base in prices if not base[0].isdigit()]
    majors = sorted(plain, key=lambda base: (base not in KNOWN_PRICES, base))[:USDC_PAIRS]
    pairs = [(base, "USDT") for base in plain] + [(base, "USDC") for base in majors]
    for number, (base, quote) in enumerate(pairs):
        yield _spot_pair(number, base, quote, ticks[base], prices[base])


def _spot_pair(number: int, base: str, quote: str, tick: Decimal, price: Decimal) -> Instrument:
    row = sample("rest.instrument.spot")
    step = Decimal(1).scaleb(min(0, -7 + max(0, 5 - price.adjusted())))
    row |= {"symbolId": 9 + number, "symbol": base + quote, "baseCoin": base, "quoteCoin": quote}
    row["lotSizeFilter"] |= {"basePrecision": f"{step:f}", "minOrderQty": f"{step * 11:f}"}
    row["priceFilter"] = {"tickSize": f"{tick.normalize():f}"}
    return Instrument("spot", base + quote, base, quote, "Trading", tick, step, price, compact(row))


def _inverse(prices: Mapping[str, Decimal], now_ms: int) -> Iterator[Instrument]:
    for base in INVERSE_BASES:
        yield _inverse_contract(base, f"{base}USD", "InversePerpetual", "0", prices[base])
    for base, (code, at) in product(("BTC", "ETH"), _quarters(now_ms)):
        delivery = str(int(at.timestamp() * 1000))
        yield _inverse_contract(base, f"{base}USD{code}", "InverseFutures", delivery, prices[base])


def _inverse_contract(base: str, symbol: str, kind: str, delivery: str, price: Decimal) -> Instrument:
    tick = Decimal(1).scaleb(max(price.adjusted() - 5, -8))
    price = _on_tick(price, tick)
    row = sample("rest.instrument.linear")
    row |= {"symbol": symbol, "contractType": kind, "baseCoin": base, "quoteCoin": "USD", "settleCoin": base}
    row |= {"deliveryTime": delivery, "priceScale": str(max(0, -int(tick.adjusted()))), "copyTrading": "none"}
    row["symbolId"] = crc32(symbol.encode()) % 10000
    row["priceFilter"] = {"minPrice": f"{tick:f}", "maxPrice": f"{tick * 19999998:f}", "tickSize": f"{tick:f}"}
    row["lotSizeFilter"] |= {"minOrderQty": "1", "qtyStep": "1", "maxOrderQty": "25000000"}
    row["lotSizeFilter"] |= {"postOnlyMaxOrderQty": "25000000", "maxMktOrderQty": "5000000"}
    return Instrument("inverse", symbol, base, "USD", "Trading", tick, Decimal(1), price, compact(row))


def _quarters(now_ms: int) -> list[tuple[str, datetime]]:
    """The next two quarterly deliveries: last Fridays of March, June, September, December."""
    codes = {3: "H", 6: "M", 9: "U", 12: "Z"}
    now = datetime.fromtimestamp(now_ms / 1000, UTC)
    ends = (_last_friday(now.year + year, month) for year in (0, 1) for month in codes)
    return [(f"{codes[end.month]}{end:%y}", end) for end in ends if end > now][:2]


def _last_friday(year: int, month: int) -> datetime:
    first_of_next = datetime(year + month // 12, month % 12 + 1, 1, OPTION_EXPIRY_HOUR, tzinfo=UTC)
    last = first_of_next - timedelta(days=1)
    return last - timedelta(days=(last.weekday() - 4) % 7)


def _options(prices: Mapping[str, Decimal], now_ms: int) -> Iterator[Instrument]:
    expiries = _expiries(now_ms)
    for base, (tick, spacing) in OPTION_BASES.items():
        middle = int(prices[base]) // spacing * spacing
        strikes = [middle + spacing * away for away in range(-7, 8)]
        series = set(product([base], expiries, strikes, "CP"))
        if base == ALWAYS_LISTED_OPTION[0]:
            series.add(ALWAYS_LISTED_OPTION)
        for listed in sorted(series, key=lambda s: (_delivery(s[1]), s[2], s[3])):
            yield _option(*listed, tick=tick, spot=prices[base])


def _expiries(now_ms: int) -> list[str]:
    now = datetime.fromtimestamp(now_ms / 1000, UTC)
    eight = now.replace(hour=OPTION_EXPIRY_HOUR, minute=0, second=0, microsecond=0)
    days = [eight + timedelta(days=ahead) for ahead in range(1, 3)]
    fridays = [eight + timedelta(days=(4 - eight.weekday()) % 7 + 7 * week) for week in range(1, 4)]
    far = [end for _, end in _quarters(now_ms)]
    return list(dict.fromkeys(f"{at.day}{MONTHS[at.month - 1]}{at:%y}" for at in [*days, *fridays, *far]))


def _delivery(code: str) -> datetime:
    day, month, year = int(code[:-5]), MONTHS.index(code[-5:-2]) + 1, 2000 + int(code[-2:])
    return datetime(year, month, day, OPTION_EXPIRY_HOUR, tzinfo=UTC)


def _option(base: str, expiry: str, strike: int, right: str, *, tick: Decimal, spot: Decimal) -> Instrument:
    symbol = f"{base}-{expiry}-{strike}-{right}-USDT"
    delivery = _delivery(expiry)
    row = sample("rest.instrument.option")
    row |= {"symbol": symbol, "baseCoin": base, "optionsType": {"C": "Call", "P": "Put"}[right]}
    row |= {"launchTime": str(int((delivery - timedelta(days=365)).timestamp() * 1000))}
    row |= {"deliveryTime": str(int(delivery.timestamp() * 1000))}
    row |= {"displayName": f"{base}USDT-{expiry}-{strike}-{right}"}
    row["priceFilter"] = {"minPrice": f"{tick:f}", "maxPrice": f"{tick * 222000:f}", "tickSize": f"{tick:f}"}
    worth = max(spot - strike if right == "C" else strike - spot, Decimal(0)) + spot / 50
    price = max(_on_tick(worth, tick), tick * 20)
    return Instrument("option", symbol, base, "USDT", "Trading", tick, Decimal("0.01"), price, compact(row))


def _spreads() -> Iterator[Instrument]:
    for symbol in SPREAD_SYMBOLS:
        base = symbol.partition("USDT_")[0]
        tick, step, price = Decimal("0.0001"), Decimal("0.1"), Decimal("21.8182")
        yield Instrument("spread", symbol, base, "USDT", "Trading", tick, step, price, "{}")
