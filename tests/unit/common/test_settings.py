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
    given = {"BYBIT_API_KEY": "the-key", "BYBIT_API_SECRET": "the-secret", "BYBIT_HEADERS": "X-A=the-header"}
    found = Settings.from_env(GOOD | given)
    assert "the-secret" not in repr(found)
    assert "the-header" not in repr(found)
    assert "the-key" not in repr(found)


def test_headers_are_pairs_and_a_value_may_contain_an_equals_sign():
    found = Settings.from_env(GOOD | {"BYBIT_HEADERS": "X-Referer=desk, X-Access = a=b == "})
    assert found.bybit.headers == (("X-Referer", "desk"), ("X-Access", "a=b =="))
    assert Settings.from_env(GOOD).bybit.headers == ()


def test_headers_may_come_from_a_file(tmp_path: Path):
    file = tmp_path / "headers"
    file.write_text("X-Access=hidden\n")
    assert Settings.from_env(GOOD | {"BYBIT_HEADERS_FILE": str(file)}).bybit.headers == (("X-Access", "hidden"),)


@pytest.mark.parametrize(
    ("value", "fault"),
    [
        ("hidden", "entry 1 must be name=value, with an HTTP header name and printable ASCII"),
        ("X-A=1,=hidden", "entry 2 must be name=value"),
        ("X-A=1,X-B=", "entry 2 must be name=value"),
        ("X-A=1,", "entry 2 must be name=value"),
        ("X A=hidden", "entry 1 must be name=value"),
        ("X-A=hidden\r\nX-B: 2", "entry 1 must be name=value"),
        ("X-A=hidd\u00e9n", "entry 1 must be name=value"),
        ("X-A=1,Host=hidden", "entry 2 names Host, which the gateway sets itself; remove it"),
        ("upgrade=hidden", "entry 1 names upgrade, which the gateway sets itself"),
        ("Sec-WebSocket-Key=hidden", "entry 1 names Sec-WebSocket-Key, which the gateway sets itself"),
        ("x-bapi-sign=hidden", "entry 1 names x-bapi-sign, which the gateway sets itself"),
        ("X-A=1,x-a=hidden", "entry 2 names x-a again; each header may be given once"),
    ],
)
def test_invalid_headers_are_named_by_their_position_and_never_shown(value: str, fault: str):
    text = config_error({"BYBIT_HEADERS": value})
    assert f"BYBIT_HEADERS: {fault}" in text
    assert "hidd" not in text


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
