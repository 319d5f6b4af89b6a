"""`make run`, once .venv exists: servers, schema, processes, health, live events."""

import contextlib
import logging
import os
import pwd
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import psycopg2

from common import amqp, database
from common.errors import ConfigError, Unavailable, reported_as
from deploy.run import data, demo, ports, processes, program, settings
from deploy.run.failing import WRONG_SETTING, Failing
from deploy.run.screen import Failure, Screen, Step
from deploy.run.settings import Settings
from deploy.run.supervision import Supervisor
from deploy.servers import postgres, rabbitmq

_READY_WITHIN_S = 90.0
_SUBSCRIBED_WITHIN_S = 20.0
_MIGRATED_WITHIN_S = 600.0
_PATIENCE_S = 5.0  # for a server stopped while it starts: RabbitMQ ignores signals in its first second
_SERVERS = ("postgres", "rabbitmq")
_LEFT = "Everything is left running: make status, make logs, make stop."


class _Unhealthy(Failure):
    """All programs were started, but the gateway is not healthy."""


@dataclass(slots=True)
class Probe:
    """Whether a server accepts connections, and the last error while it does not."""

    server: str
    connect: Callable[[], None]  # raises Unavailable
    error: str = ""

    def succeeds(self) -> bool:
        try:
            self.connect()
        except Unavailable as error:
            self.error = str(error)
            return False
        return True

    def status(self) -> str:
        return f"waiting for {self.server}: {self.error}" if self.error else f"waiting for {self.server}"


def up(root: Path, screen: Screen) -> int:
    began_at = time.monotonic()
    found = settings.checked(root)
    supervisor = Supervisor(root)
    mark = settings.fingerprint(root, settings.environment(root))
    if supervisor.pid() is not None and not _current(supervisor, mark):
        with screen.step("stopped what ran, because .env or the code changed") as step:
            supervisor.stop(step.progress)
    supervisor.end_lost()
    runs = supervisor.pid() is not None
    if not runs:
        _refuse_taken_ports(found)
        _refuse_data_of_other_versions(root, found)
    with contextlib.nullcontext() if runs else _undone_on_failure(supervisor, screen):
        if not runs:
            data.remember(root, found.bybit.environment)
            if os.geteuid() == 0:
                _make_user(program.USER)
            with screen.step("supervisord"):
                supervisor.launch()
        _start_servers(supervisor, found, screen)
        _migrate(root, screen)
        with screen.step(", ".join(_processes(found))):
            supervisor.start(*_processes(found))
        (supervisor.folder / "started").write_text(mark)
        _wait_for_health(supervisor, found, screen)
    screen.line(f"\nws-gateway is up and healthy after {time.monotonic() - began_at:.1f} s.")
    with contextlib.suppress(KeyboardInterrupt):  # from here on Ctrl-C ends the output, not the gateway
        _show(found, screen)
    screen.line("\nIt runs on in the background: make status, make logs, make stop.")
    return 0


def _current(supervisor: Supervisor, mark: str) -> bool:
    with contextlib.suppress(OSError):
        return supervisor.answers() and (supervisor.folder / "started").read_text() == mark
    return False


def _refuse_taken_ports(found: Settings) -> None:
    wanted = found.ports()
    if same := ports.twice(wanted):
        raise ConfigError("; ".join(f"{a.variable} and {b.variable} are both {a.number}" for a, b in same))
    if taken := ports.taken(wanted):
        raise Failure(ports.report(taken))


@contextlib.contextmanager
def _undone_on_failure(supervisor: Supervisor, screen: Screen) -> Iterator[None]:
    """Stop everything when the start fails, unless the running programs help to find the reason."""
    try:
        yield
    except _Unhealthy:
        raise
    except BaseException:
        with screen.step("stopped what was started") as step:
            supervisor.stop(step.progress, patience_s=_PATIENCE_S)
        raise


def _refuse_data_of_other_versions(root: Path, found: Settings) -> None:
    if found.private_postgres:
        postgres.binary_for(program.private_postgres(found, root).data, postgres.newest_binary())
    if found.private_rabbitmq:
        rabbitmq.check_version(program.private_rabbitmq(found, root).data)


def _make_user(name: str) -> None:
    """The user that runs our programs when root starts them."""
    try:
        pwd.getpwnam(name)
    except KeyError:
        command = ["useradd", "--system", "--user-group", "--no-create-home", "--home-dir", "/nonexistent"]
        done = subprocess.run([*command, "--shell", "/usr/sbin/nologin", name], capture_output=True, text=True)
        if done.returncode != 0:
            raise Failure(f"the user {name} could not be made: {done.stderr.strip()}") from None


def _start_servers(supervisor: Supervisor, found: Settings, screen: Screen) -> None:
    private = [name for name in found.programs() if name in _SERVERS]
    with screen.step(f"PostgreSQL and RabbitMQ ({'private' if private else 'given'})") as step:
        supervisor.start(*private)
        for server, connect in (("PostgreSQL", _connect_to_postgres), ("RabbitMQ", _connect_to_rabbitmq)):
            probe = Probe(server, partial(connect, found))
            wait_for(supervisor, private, probe.succeeds, step, probe.status)


def _migrate(root: Path, screen: Screen) -> None:
    with screen.step("database schema (alembic upgrade head)"):
        done = subprocess.run(
            [sys.executable, "-m", "alembic", "upgrade", "head"],
            cwd=root,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_MIGRATED_WITHIN_S,
        )
        if done.returncode != 0:
            raise Failure("\n".join(["the migration failed:", *(done.stdout + done.stderr).splitlines()[-15:]]))


def _wait_for_health(supervisor: Supervisor, found: Settings, screen: Screen) -> None:
    api = demo.api(found)
    with screen.step(f"healthy: {api.url}/health, and every program is RUNNING") as step:
        last = ""

        def healthy() -> bool:
            nonlocal last
            with contextlib.suppress(OSError, ValueError):
                status, answer = api.health()
                last = demo.unhealthy(answer)
                return status == 200 and _all_running(supervisor, found)
            return False

        try:
            wait_for(supervisor, found.programs(), healthy, step, lambda: last)
        except Failure as failure:
            raise _Unhealthy(f"{failure}\n{_LEFT}") from None


def wait_for(
    supervisor: Supervisor,
    programs: Sequence[str],
    question: Callable[[], bool],
    step: Step,
    status: Callable[[], str],
) -> None:
    """Wait until the condition is true. Raises Failure when a program will not start or the time is over."""
    failing = Failing()

    def decided() -> bool:
        failing.look((each for each in supervisor.programs() if each.name in programs), time.monotonic())
        return bool(failing.programs) or question()

    in_time = processes.until(decided, _READY_WITHIN_S, lambda: step.progress(status()))
    if failing.programs:
        raise Failure("\n".join(_last_words(supervisor, failing)))
    if not in_time:
        raise Failure(f"not ready after {_READY_WITHIN_S:.0f} s, {status() or 'no details'}")


def _last_words(supervisor: Supervisor, failing: Failing) -> Iterator[str]:
    for name, reason in failing.programs.items():
        yield f"{name} does not run, {reason}:"
        yield from supervisor.log_tail(name, 1 if reason == WRONG_SETTING else 8)


def _show(found: Settings, screen: Screen) -> None:
    if found.simulated:
        _show_demo(found, screen)
    else:
        _show_first_calls(found, screen)


def _show_first_calls(found: Settings, screen: Screen) -> None:
    """Output for a real exchange: nothing is subscribed without a request, and no secret is printed."""
    url = demo.api(found).url
    ask = 'curl -H "X-API-Key: $WS_GATEWAY_API_KEY"'
    post = "-H 'Content-Type: application/json' -H 'Prefer: wait=10'"
    wanted = '{"channel_type":"trades","symbol":"BTCUSDT","requesting_service":"my-service"}'
    screen.line(f"""
  exchange {found.bybit.environment}
  page     {url}/
  API      {url}   described at {url}/docs
  secrets  in .env: WS_GATEWAY_API_KEY, RABBITMQ_USER and RABBITMQ_PASSWORD

Subscribe, and see what becomes of it:
  set -a; . ./.env; set +a
  {ask} {post} -d '{wanted}' {url}/api/v1/subscriptions
  {ask} {url}/api/v1/subscriptions
The events arrive in the queue ws-gateway.trades.my-service: README.md, See it live.""")


def _show_demo(found: Settings, screen: Screen) -> None:
    api, amqp_url = demo.api(found), demo.amqp_url(found.rabbitmq)
    with screen.step(f"{demo.CHANNEL} subscribed for the service {demo.SERVICE}, for {demo.LEASE_S // 60} minutes"):
        api.subscribe_demo()
        if not processes.until(lambda: api.serves(demo.SERVICE), _SUBSCRIBED_WITHIN_S):
            raise Failure(f"the subscriptions of {demo.SERVICE} are not live after {_SUBSCRIBED_WITHIN_S:.0f} s")
    key = f"-H 'X-API-Key: {found.api_key}'"
    wanted = '{"channel_type":"orderbook","symbol":"ETHUSDT","requesting_service":"my-service","ttl_seconds":600}'
    processes.until(
        lambda: api.health()[0] == 200, _SUBSCRIBED_WITHIN_S
    )  # a new connection is unhealthy until it is live
    status, health = api.health()
    screen.line(f"""
  health   {status} {health.get("status", "")}, exchange: {found.bybit.environment}
  page     {api.url}/
  API      {api.url}   described at {api.url}/docs
  API key  {found.api_key}
  AMQP     {amqp_url}
  queue    {demo.QUEUE}   (trades of BTCUSDT for the service "{demo.SERVICE}")

Try:
  curl {api.url}/health
  curl {key} {api.url}/api/v1/subscriptions
  curl {key} -H 'Content-Type: application/json' -d '{wanted}' {api.url}/api/v1/subscriptions

Arriving in {demo.QUEUE}:""")
    try:
        for line in demo.events(found.rabbitmq, screen.line):
            screen.line(line)
    except Unavailable as error:
        raise Failure(f"{error}\n{_LEFT}") from None


def _connect_to_postgres(found: Settings) -> None:
    with reported_as(Unavailable, psycopg2.OperationalError):
        database.Connector(found.postgres, "ws-gateway make run").connect().close()


def _connect_to_rabbitmq(found: Settings) -> None:
    logging.getLogger("pika").setLevel(logging.CRITICAL)  # it logs each refused connection
    amqp.connect(found.rabbitmq, "ws-gateway make run").close()


def _all_running(supervisor: Supervisor, found: Settings) -> bool:
    states = supervisor.states()
    return all(states.get(name) == "RUNNING" for name in found.programs())


def _processes(found: Settings) -> list[str]:
    return [name for name in found.programs() if name not in _SERVERS]
