"""A first run that is killed, as by a power cut, and the run after it."""

from pathlib import Path

import pytest

from tests.bare.machine import CLONE, LIVE_EVENT, SUITES, Machine, enabled, left_by_the_installation, machine
from tests.kit.waiting import eventually

pytestmark = [pytest.mark.bare, pytest.mark.timeout(2400)]

# What appears on the way of a first run, in about this order.
MOMENTS = [
    f"{CLONE}/.env",
    "/var/lib/ws-gateway/installing",
    "/usr/sbin/policy-rc.d",
    "/usr/bin/erl",
    "/usr/share/postgresql-common/createcluster.conf",
    "/usr/lib/rabbitmq/bin/rabbitmq-server",
    f"{CLONE}/.venv/bin/python",
    f"{CLONE}/.venv/lib/*/site-packages/sqlalchemy",
    f"{CLONE}/.run/postgres.making",
    f"{CLONE}/.run/rabbitmq/mnesia",
    f"{CLONE}/.run/started",
]


@pytest.mark.parametrize("suite", SUITES)
def test_a_run_killed_at_any_moment_is_finished_by_the_next(suite: str, tmp_path: Path):
    with machine(suite, tmp_path) as debian:
        debian.clone(CLONE)
        for moment in MOMENTS:
            kill_a_run(debian, moment)
        done = debian.run("make run", CLONE)
        assert done.status == 0, done.output
        assert LIVE_EVENT.search(done.output)
        assert left_by_the_installation(debian) == []
        assert enabled(debian) == []


def kill_a_run(debian: Machine, appears: str) -> None:
    """It runs with the path that `su` leaves to root."""
    with debian.begin("PATH=/usr/bin:/bin make run", CLONE) as child:
        eventually(lambda: debian.find(appears) or child.poll() is not None, 300, f"{appears} is there")
        debian.kill_all()
