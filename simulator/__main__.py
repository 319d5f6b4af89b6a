"""The process of the simulator is composed here."""

import asyncio
import os
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from decimal import Decimal
from secrets import token_hex

import structlog
from aiohttp import web

from simulator import logs, recordings
from simulator.account import Account
from simulator.answers import RestHandlers
from simulator.clock import Clock
from simulator.control import Control
from simulator.faults import Faults, Where
from simulator.hub import Hub
from simulator.instruments import catalogue
from simulator.market import Market
from simulator.recordings import Recording, UnusableRecording
from simulator.rest import Rest
from simulator.settings import CONFIG, SUPERVISED_FOR_S, Settings
from simulator.signing import Credentials
from simulator.sockets import PATHS, Sockets
from simulator.tape import Tape, loop_of

BEAT_S = 0.02
IDLE_BEAT_S = 1.0

log = structlog.get_logger("simulator")


def main(arguments: Sequence[str], env: Mapping[str, str]) -> int:
    logs.configure()
    settings = Settings.read(arguments, env)
    try:
        recording = recordings.load(settings.recording) if settings.recording else recordings.shipped()
        asyncio.run(run(settings, recording))
    except (UnusableRecording, CannotListen) as problem:
        log.critical("cannot start", problem=str(problem))
        return wrong_setting(env)
    return 0


def wrong_setting(env: Mapping[str, str]) -> int:
    """The exit status, after startsecs of supervisord, which would retry an earlier exit whatever its status."""
    if "SUPERVISOR_ENABLED" in env:
        time.sleep(SUPERVISED_FOR_S)
    return CONFIG


class CannotListen(Exception):
    """The address is in use or not available."""


async def run(settings: Settings, recording: Recording) -> None:
    clock = Clock(settings.speed)
    listed = catalogue(clock.now_ms())
    tape = None if settings.exact else _tape(settings, recording, clock.market_ms())
    markets = {
        category: Market(category, listed, settings.seed, tape if category == recording.category else None)
        for category in PATHS.values()
        if category != "private"
    }
    account = Account(
        price_of=lambda symbol: _last_price(markets["linear"], symbol, clock.market_ms()),
        every_ms=int(settings.fill_every_s * 1000),
        now_ms=clock.market_ms(),
    )
    credentials = Credentials(settings.key, settings.secret)
    faults = Faults(clock.seconds)
    hub = Hub(clock, markets, account, faults)
    sockets = Sockets(
        hub=hub,
        markets=markets,
        credentials=credentials,
        clock=clock,
        latency_s=settings.latency_s,
        exact=recording if settings.exact else None,
        speed=settings.speed,
        faults=faults,
    )
    handlers = RestHandlers(listed, markets, account, settings.key, lambda: _wallet_lag_ms(faults))
    rest = Rest(handlers, hub, credentials, clock, faults)
    control = Control(hub, faults, account, clock)
    app = web.Application()
    app.add_routes([*sockets.routes(), *rest.routes(), *control.routes()])
    await _serve(app, settings, hub, sockets)


def _tape(settings: Settings, recording: Recording, now_ms: int) -> Tape:
    """At real speed a restart repeats nothing, and REST still returns earlier trades."""
    salt = "" if settings.speed == 1.0 else token_hex(8)
    return Tape(loop_of(recording), salt, now_ms)


def _last_price(market: Market, symbol: str, now_ms: int) -> Decimal:
    quote = market.quote(symbol, now_ms)
    assert quote is not None, symbol
    return quote.last


def _wallet_lag_ms(faults: Faults) -> int:
    fault = faults.take("lagging_wallet", Where())
    return 0 if fault is None else int(fault.details["lag_s"] * 1000)


async def _serve(app: web.Application, settings: Settings, hub: Hub, sockets: Sockets) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
    await runner.setup()
    hub.advance()
    try:
        await web.TCPSite(runner, settings.host, settings.port).start()
    except OSError as error:
        raise CannotListen(f"{settings.host}:{settings.port}: {error.strerror}") from error
    log.info("listening", host=settings.host, port=settings.port, exact=settings.exact)
    beating = asyncio.create_task(_beat(hub))
    await asyncio.wait([asyncio.create_task(stop.wait()), beating], return_when=asyncio.FIRST_COMPLETED)
    log.info("stopping")
    await sockets.close()
    await runner.cleanup()
    beating.cancel()
    with suppress(asyncio.CancelledError):
        await beating


async def _beat(hub: Hub) -> None:
    """Advance the market; slowly without subscribers."""
    while True:
        hub.advance()
        if hub.watched:
            await asyncio.sleep(BEAT_S)
            continue
        hub.stirred.clear()
        with suppress(TimeoutError):
            await asyncio.wait_for(hub.stirred.wait(), IDLE_BEAT_S)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
