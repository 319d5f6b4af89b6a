"""Data of a real account does not go unasked."""

from pathlib import Path

import pytest

from deploy.run import data
from deploy.run.screen import Failure


def test_data_of_the_simulator_may_go(tmp_path: Path) -> None:
    data.remember(tmp_path, "simulator")
    data.permit(tmp_path)


def test_data_of_a_real_account_stays_without_a_terminal(tmp_path: Path) -> None:
    data.remember(tmp_path, "mainnet")
    data.remember(tmp_path, "simulator")
    with pytest.raises(Failure, match=r"mainnet.*WS_GATEWAY_CLEAN=yes"):
        data.ask(tmp_path, ["mainnet"], terminal=False, answer=lambda _: "yes")
    assert data.environments(tmp_path) == {"mainnet", "simulator"}


@pytest.mark.parametrize("answer", ["", "y", "no"])
def test_only_a_yes_is_a_yes(tmp_path: Path, answer: str) -> None:
    data.ask(tmp_path, ["mainnet"], terminal=True, answer=lambda _: "yes")
    with pytest.raises(Failure, match="nothing was removed"):
        data.ask(tmp_path, ["mainnet"], terminal=True, answer=lambda _: answer)


def test_the_override_asks_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data.remember(tmp_path, "demo")
    monkeypatch.setenv(data.OVERRIDE, "yes")
    data.permit(tmp_path)
