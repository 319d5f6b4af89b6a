"""An .env and a spool folder of commit a3f9e28 are taken over as they are."""

import shutil
from collections.abc import Mapping
from io import StringIO
from pathlib import Path
from typing import Protocol

import pytest
from dotenv import dotenv_values

import api.settings
import ingestor.settings
import persister.settings
from common.errors import ConfigError
from deploy.run import env_file
from deploy.run import settings as run
from ingestor.control.cache import SubscriptionCache
from ingestor.control.checkpoint import read_checkpoint
from ingestor.control.state_file import StateFile
from ingestor.delivery.spool import Spool

DATA = Path(__file__).parents[2] / "data" / "upgrade"
PROCESSES = [run.Settings, ingestor.settings.Settings, persister.settings.Settings, api.settings.Settings]


class Process(Protocol):
    @classmethod
    def from_env(cls, values: Mapping[str, str]) -> object: ...


def former_env() -> str:
    return env_file.rendered((DATA / "a3f9e28.env").read_text(), lambda: "a-secret")


def values(text: str) -> dict[str, str]:
    return {name: value or "" for name, value in dotenv_values(stream=StringIO(text)).items()}


@pytest.fixture
def spool(tmp_path: Path) -> Path:
    return shutil.copytree(DATA / "a3f9e28.spool", tmp_path / "spool")


@pytest.mark.parametrize("process", PROCESSES)
def test_every_process_takes_the_former_env(process: Process):
    process.from_env(values(former_env()))


def test_the_former_env_is_not_changed(tmp_path: Path):
    (tmp_path / ".env").write_text(former_env())
    (tmp_path / "env.example").write_text("NEW=1\n")
    assert not env_file.make(tmp_path)
    assert (tmp_path / ".env").read_text() == former_env()


def test_it_means_what_it_meant():
    found = run.Settings.from_env(values(former_env()))
    assert found.programs() == ["postgres", "rabbitmq", "simulator", "ingestor", "persister", "api"]
    assert (found.postgres.hosts, found.rabbitmq.hosts) == ((("127.0.0.1", 4432),), (("127.0.0.1", 4472),))
    assert (found.postgres.sslmode, found.rabbitmq.tls) == ("prefer", False)


@pytest.mark.parametrize(
    ("more", "instruction"),
    [
        ({"RABBITMQ_HOST": "mq", "RABBITMQ_CA_FILE": "/ca"}, "CA_FILE is used with TLS only; set RABBITMQ_TLS=true"),
        ({"DATABASE_URL": "postgresql://me:p@db/rows"}, "; remove the URL, or the variables that differ from it"),
    ],
)
def test_what_it_cannot_mean_any_more_is_refused_with_instructions(more: dict[str, str], instruction: str):
    with pytest.raises(ConfigError, match=instruction):
        ingestor.settings.Settings.from_env(values(former_env()) | more)


def test_a_waiting_event_is_published_after_the_upgrade(spool: Path):
    opened = Spool(spool / "private.db", 2**30, durable=True)
    [found] = opened.read(0, 10)
    assert (found.event.routing_key, found.event.id) == ("order.private", "0f8c2b6e5d7a4c1e9b3a7f60d2e41c58")
    assert opened.last_position == found.position == 1795000000000000
    opened.close()


def test_the_cached_subscriptions_are_taken_over(spool: Path):
    cache = SubscriptionCache(StateFile(spool / "subscriptions.json", former=spool / "wishes.json"))
    assert [(each.service, each.topic) for each in cache.last()] == [
        ("model", "publicTrade.BTCUSDT"),
        ("order-manager", "order"),
    ]


def test_the_gap_of_the_restart_begins_where_the_former_run_ended(spool: Path):
    found = read_checkpoint(StateFile(spool / "checkpoint.json", former=spool / "alive.json"))
    assert found.well_ns == {"linear": 1795000000000000000, "private": 1795000001000000000}
    assert [(gap.topic, gap.cause, gap.last_id) for gap in found.windows] == [("publicTrade.BTCUSDT", "restart", "c")]
