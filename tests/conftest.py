"""Fixtures: private servers, and new databases and vhosts on them.

`postgres`, `rabbitmq`  one private server each for the whole session, started when first requested; for RabbitMQ
                        the one that WSGW_TEST_AMQP_URL names
`database`              a migrated database of this test's own
`broker`                a RabbitMQ vhost of this test's own
`own_postgres`, `own_rabbitmq`  a server that this test may stop, pause or kill
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, Phase
from hypothesis import settings as hypothesis

from common import database as databases
from deploy.run import processes
from tests.kit import reaper, servers
from tests.kit.children import MARK
from tests.kit.servers import Broker, Database, GivenRabbitMQ, Postgres, RabbitMQ, Server

S = TypeVar("S", bound=Server)
_LEAVE_WITHIN_S = 5.0
# Each run draws afresh and remembers nothing of the one before, and a busy machine fails no example. Shrinking takes
# longer than a test may: the report shows how to repeat the example, and `--hypothesis-profile=shrink` makes it small.
hypothesis.register_profile(
    "suite",
    database=None,
    derandomize=False,
    deadline=None,
    print_blob=True,
    phases=[Phase.explicit, Phase.generate, Phase.target],
    suppress_health_check=[HealthCheck.too_slow],
)
hypothesis.register_profile("shrink", hypothesis.get_profile("suite"), phases=tuple(Phase))
hypothesis.load_profile("suite")
databases.limit_waits()  # for the whole process, as each of ours does


class Run:
    """One test run, in a folder of its own that is removed unless a test failed."""

    def __init__(self) -> None:
        self.crashed = False
        self.folder = Path(tempfile.mkdtemp(prefix="ws-gateway-tests-"))
        environment = dict(os.environ)
        os.environ[MARK] = os.environ["PYTEST_DEBUG_TEMPROOT"] = str(
            self.folder
        )  # for our workers and all that follows
        self._reaper = subprocess.Popen(
            [sys.executable, "-m", "tests.kit.reaper", str(self.folder)],
            cwd=servers.ROOT,
            env=environment,
            stdin=subprocess.PIPE,
            start_new_session=True,  # Ctrl-C is not for it
        )

    def end(self, keep_folder: bool) -> list[str]:
        """Remove remaining processes and files; return those that were found."""
        assert self._reaper.stdin is not None
        spare = [self._reaper.pid]
        processes.gone(reaper.left_of(self.folder, spare), _LEAVE_WITHIN_S)
        left = [processes.command_of(pid) for pid in reaper.left_of(self.folder, spare)]
        if keep_folder and not left:
            self._reaper.stdin.write(reaper.DONE)
        self._reaper.stdin.close()
        self._reaper.wait()
        return left


_run = pytest.StashKey[Run]()


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):  # what xdist starts belongs to our run
        config.stash[_run] = Run()


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any, error: object) -> None:
    """xdist calls this when a worker has ended; `error` is None after a regular end."""
    node.config.stash[_run].crashed |= bool(error)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> Iterator[None]:
    yield
    run = session.config.stash.get(_run, None)
    if run is None:
        return
    if left := run.end(keep_folder=exitstatus == pytest.ExitCode.TESTS_FAILED and not run.crashed):
        print("\nprocesses that outlived their test, and are ended now:", *left, sep="\n  ")
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.fixture(scope="session")
def postgres(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    need("postgres")
    server = Postgres(tmp_path_factory.mktemp("postgres"))
    yield from served(server)


@pytest.fixture(scope="session")
def rabbitmq(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RabbitMQ | GivenRabbitMQ]:
    if given := os.environ.get("WSGW_TEST_AMQP_URL"):
        yield GivenRabbitMQ(given, int(os.environ.get("WSGW_TEST_MANAGEMENT_PORT", "15672")))
        return
    need("rabbitmq")
    server = RabbitMQ(tmp_path_factory.mktemp("rabbitmq"))
    server.begin()
    if any("postgres" in getattr(item, "fixturenames", ()) for item in request.session.items):
        request.getfixturevalue("postgres")  # starts while RabbitMQ does
    yield from served(server)


@pytest.fixture
def own_postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    need("postgres")
    yield from served(Postgres(tmp_path_factory.mktemp("own_postgres")))


@pytest.fixture
def own_rabbitmq(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RabbitMQ]:
    need("rabbitmq")
    yield from served(RabbitMQ(tmp_path_factory.mktemp("own_rabbitmq")))


@pytest.fixture(scope="session")
def migrated(postgres: Postgres) -> Database:
    """The template that fresh databases are copied from: connect to `database`, never to this one."""
    template = postgres.on("migrated")
    postgres.on().execute("CREATE DATABASE migrated")
    servers.migrate(template)
    return template


@pytest.fixture
def database(postgres: Postgres, migrated: Database) -> Iterator[Database]:
    with servers.fresh_database(postgres, migrated) as mine:
        yield mine


@pytest.fixture
def broker(rabbitmq: RabbitMQ | GivenRabbitMQ) -> Iterator[Broker]:
    with servers.fresh_vhost(rabbitmq) as mine:
        yield mine


def need(name: str) -> None:
    """A missing server skips on a laptop and fails where CI=true promises it."""
    if servers.installed(name):
        return
    if os.environ.get("CI") == "true":
        pytest.fail(f"{name} is not installed, and CI=true promises that it is")
    pytest.skip(f"{name} is not installed (make test installs it)")


def served(server: S) -> Iterator[S]:
    try:
        server.start()
        yield server
    finally:
        server.kill()  # its data goes anyway, and RabbitMQ takes 6 s to stop in good order
