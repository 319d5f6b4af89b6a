"""What has to be there, and what may stay missing."""

from collections.abc import Callable
from io import StringIO
from pathlib import Path

import pytest

from deploy.run import packages
from deploy.run.packages import Missing
from deploy.run.screen import Failure, Screen

POSTGRES, NGINX = Missing("postgresql", "PostgreSQL"), Missing("nginx", "nginx", may_stay_so=True)
Without = Callable[..., str]


@pytest.fixture
def without(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Without:
    """Provide for the tests on a machine that lacks these and lets nobody install anything; what is said."""

    def provided(*lacking: Missing) -> str:
        def refused(*_: object) -> list[str]:
            raise Failure("installing needs root")

        monkeypatch.setattr(packages, "missing", lambda _kind="run": list(lacking))
        monkeypatch.setattr(packages, "_rights", refused)
        said = StringIO()
        packages.provide(tmp_path, Screen(said), "dev")
        return said.getvalue()

    return provided


def test_nothing_is_said_when_nothing_is_missing(without: Without):
    assert without() == ""


def test_the_tests_go_on_without_nginx(without: Without):
    assert "nginx stays missing, and its tests are skipped (installing needs root)" in without(NGINX)


def test_nothing_goes_on_without_a_server(without: Without):
    with pytest.raises(Failure, match="needs root"):
        without(POSTGRES, NGINX)
