"""The README's first commands on a machine that has python3, git and make, and nothing else."""

from collections.abc import Iterator

import pytest

from tests.bare.machine import CLONE, LIVE_EVENT, SUITES, Machine, enabled, left_by_the_installation, machine

pytestmark = [pytest.mark.bare, pytest.mark.timeout(2400)]

TESTS = "tests/unit tests/contract/api tests/contract/delivery tests/contract/tables tests/e2e/test_main_job.py"
HEALTH = "import urllib.request; print(urllib.request.urlopen('http://127.0.0.1:4400/health').status)"


@pytest.fixture(scope="module", params=SUITES)
def debian(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    with machine(request.param, tmp_path_factory.mktemp("bare")) as made:
        made.clone(CLONE)
        yield made


@pytest.fixture(scope="module")
def mounts_before(debian: Machine) -> list[str]:
    return debian.mounts()


@pytest.fixture(scope="module")
def first_run(debian: Machine, mounts_before: list[str]) -> str:
    done = debian.run("make run", CLONE)
    assert done.status == 0, done.output
    return done.output


def test_the_first_run_is_healthy_and_shows_events(debian: Machine, first_run: str):
    assert debian.run(f'python3 -c "{HEALTH}"').output.strip() == "200"
    assert LIVE_EVENT.search(first_run)


def test_no_program_but_supervisord_runs_as_root(debian: Machine, first_run: str):
    users = debian.users()
    assert users.pop("root") == 1
    assert set(users) == {"postgres", "rabbitmq", "ws-gateway"}


def test_no_service_of_the_distribution_is_enabled(debian: Machine, first_run: str):
    assert enabled(debian) == []


def test_the_tests_pass_beside_the_running_gateway(debian: Machine, first_run: str):
    done = debian.run(f"make test TESTS='{TESTS}'", CLONE, within_s=1500)
    assert done.status == 0, done.output[-5000:]


def test_a_stop_leaves_nothing(debian: Machine, mounts_before: list[str], first_run: str):
    assert debian.run("make stop", CLONE).status == 0
    assert debian.processes() == []
    assert debian.listeners() == []
    assert debian.mounts() == mounts_before
    assert left_by_the_installation(debian) == []
