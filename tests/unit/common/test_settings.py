"""The environment, checked."""

from pathlib import Path

import pytest

from common import settings
from common.errors import ConfigError
from common.settings import Environment
from ingestor.settings import Settings

GOOD = {"POSTGRES_PASSWORD": "p", "RABBITMQ_PASSWORD": "r"}


def config_error(more: dict[str, str]) -> str:
    with pytest.raises(ConfigError) as refused:
        Settings.from_env(GOOD | more)
    return str(refused.value)


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("BYBIT_ENVIRONMENT", "live", "one of mainnet, testnet, demo, simulator"),
        ("POSTGRES_PORT", "70000", "a whole number from 1 to 65535"),
        ("RABBITMQ_PORT", "x", "a whole number from 1 to 65535"),
        ("RABBITMQ_HOST", "a b,:", "host or host:port, several separated by commas"),
        ("BYBIT_WS_URL", "http://x", "ws or wss://host:port"),
        ("BYBIT_WS_URL", "wss://x/v5/public", "ws or wss://host:port"),
        ("WS_GATEWAY_CLASS_QUEUES", "trade", "all, none, or classes separated by commas"),
        ("WS_GATEWAY_MARKET_QUEUE_TYPE", "stream", "one of classic, quorum"),
        ("WS_GATEWAY_LOG_LEVEL", "LOUD", "one of DEBUG, INFO, WARNING, ERROR"),
        ("WS_GATEWAY_SERVICE_NAME", "-x", "1 to 63 characters of a-z, 0-9 and -, not starting with -"),
        ("WS_GATEWAY_RETENTION_HOURS", "0", "a whole number from 1 to 8760"),
    ],
)
def test_a_wrong_value_is_named_with_what_is_allowed(name: str, value: str, allowed: str):
    text = config_error({name: value})
    assert f"{name}={value!r}: must be {allowed}" in text


def test_a_key_without_its_secret_is_a_mistake():
    text = config_error({"BYBIT_API_KEY": "k"})
    assert "BYBIT_API_SECRET='': must be set, because BYBIT_API_KEY is" in text


def test_a_variable_and_its_file_together_are_a_mistake(tmp_path: Path):
    file = tmp_path / "password"
    file.write_text("p")
    text = config_error({"POSTGRES_PASSWORD": "p", "POSTGRES_PASSWORD_FILE": str(file)})
    assert f"POSTGRES_PASSWORD_FILE={str(file)!r}: must be empty while POSTGRES_PASSWORD is set" in text


def test_all_errors_are_reported_at_once():
    text = config_error({"POSTGRES_PORT": "x", "RABBITMQ_PORT": "y"})
    assert "POSTGRES_PORT" in text
    assert "RABBITMQ_PORT" in text


def test_a_missing_password_is_named():
    with pytest.raises(ConfigError, match="POSTGRES_PASSWORD is required; set it or POSTGRES_PASSWORD_FILE"):
        Settings.from_env({"RABBITMQ_PASSWORD": "r"})


def test_a_secret_may_come_from_a_file(tmp_path: Path):
    file = tmp_path / "secret"
    file.write_text("from-file\n")
    found = Settings.from_env({"RABBITMQ_PASSWORD": "r", "POSTGRES_PASSWORD_FILE": str(file)})
    assert found.postgres.password == "from-file"


def test_a_secret_is_never_shown():
    found = Settings.from_env(GOOD | {"BYBIT_API_KEY": "the-key", "BYBIT_API_SECRET": "the-secret"})
    assert "the-secret" not in repr(found)
    assert "the-key" not in repr(found)


def test_several_brokers_may_have_ports_of_their_own():
    env = Environment(GOOD | {"RABBITMQ_HOST": "a:1, b", "RABBITMQ_PORT": "2"})
    assert settings.rabbitmq(env).hosts == (("a", 1), ("b", 2))


def test_the_process_environment_wins_over_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    file = tmp_path / ".env"
    file.write_text("WSGW_ONE=file\nWSGW_TWO=file\n")
    monkeypatch.setenv("WSGW_ONE", "process")
    found = settings.process_environment(file)
    assert (found["WSGW_ONE"], found["WSGW_TWO"]) == ("process", "file")


def test_a_secrets_file_with_an_impossible_name_is_refused_like_a_missing_one():
    assert "must be a readable file" in config_error({"BYBIT_API_KEY_FILE": "a\x00b"})
