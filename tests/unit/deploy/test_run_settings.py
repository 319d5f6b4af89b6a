"""What `make run` makes of the settings."""

from pathlib import Path

import pytest

from common.errors import ConfigError
from deploy.run import program
from deploy.run.settings import Settings

GIVEN = {"POSTGRES_PASSWORD": "p", "RABBITMQ_PASSWORD": "r", "WS_GATEWAY_API_KEY": "k"}


def test_a_server_elsewhere_is_used_and_not_started() -> None:
    found = Settings.from_env(GIVEN | {"POSTGRES_HOST": "db.internal", "RABBITMQ_HOST": "a,b:5673"})
    assert found.programs() == ["simulator", "ingestor", "persister", "api"]
    assert not {"POSTGRES_PORT", "RABBITMQ_PORT", "ERL_EPMD_PORT"} & {port.variable for port in found.ports()}


def test_several_servers_on_this_machine_are_used_and_not_started() -> None:
    hosts = "127.0.0.1:5432,127.0.0.1:5433"
    found = Settings.from_env(GIVEN | {"POSTGRES_HOST": hosts, "RABBITMQ_HOST": hosts})
    assert found.programs() == ["simulator", "ingestor", "persister", "api"]


def test_a_private_server_takes_no_client_certificate() -> None:
    files = {"POSTGRES_SSLCERT": "/cert", "POSTGRES_SSLKEY": "/key"}
    with pytest.raises(ConfigError, match=r"POSTGRES_SSLMODE='prefer'.*without certificates"):
        Settings.from_env(GIVEN | files)


def test_servers_of_this_machine_that_are_somebodys_own_are_used_and_not_started() -> None:
    found = Settings.from_env(GIVEN | {"WS_GATEWAY_PRIVATE_SERVERS": "none", "POSTGRES_SSLMODE": "require"})
    assert found.programs() == ["simulator", "ingestor", "persister", "api"]
    assert not {"POSTGRES_PORT", "RABBITMQ_PORT"} & {port.variable for port in found.ports()}
    assert Settings.from_env(GIVEN).programs()[:2] == ["postgres", "rabbitmq"]


def test_the_real_exchange_needs_no_simulator() -> None:
    found = Settings.from_env(GIVEN | {"BYBIT_ENVIRONMENT": "testnet"})
    assert "simulator" not in found.programs()
    assert program.variables("ingestor", found) == {"WS_GATEWAY_METRICS_PORT": "4401"}


def test_the_ingestor_finds_a_simulator_on_another_port() -> None:
    found = Settings.from_env(GIVEN | {"SIMULATOR_PORT": "5000"})
    assert program.variables("simulator", found) == {"SIMULATOR_PORT": "5000"}
    assert program.variables("ingestor", found)["BYBIT_WS_URL"] == "ws://127.0.0.1:5000"
    assert program.variables("ingestor", found)["BYBIT_REST_URL"] == "http://127.0.0.1:5000"


def test_the_persister_takes_the_metrics_port_after_the_ingestors() -> None:
    found = Settings.from_env(GIVEN | {"WS_GATEWAY_METRICS_PORT": "5000"})
    assert program.variables("persister", found) == {"WS_GATEWAY_METRICS_PORT": "5001"}


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("BYBIT_ENVIRONMENT", "prod", "mainnet, testnet, demo, simulator"),
        ("WS_GATEWAY_PRIVATE_SERVERS", "some", "auto, none"),
        ("ERL_EPMD_PORT", "http", "1 to 65535"),
        ("WS_GATEWAY_METRICS_PORT", "65535", "1 to 65534"),
        ("POSTGRES_SSLMODE", "verify-full", "no TLS"),
        ("RABBITMQ_TLS", "true", "no TLS"),
    ],
)
def test_a_wrong_value_is_refused_with_its_name_and_what_is_allowed(name: str, value: str, allowed: str) -> None:
    with pytest.raises(ConfigError, match=f"{name}='{value}'.*{allowed}"):
        Settings.from_env(GIVEN | {name: value})


def test_a_fingerprint_follows_settings_and_code(tmp_path: Path) -> None:
    from deploy.run.settings import fingerprint

    (tmp_path / "env.example").write_text("# a note = here\nA=1\n#B=\n")
    (tmp_path / "common").mkdir()
    seen = {fingerprint(tmp_path, {"A": "1", "HOME": "x"})}
    assert fingerprint(tmp_path, {"A": "1", "HOME": "y"}) in seen
    seen |= {fingerprint(tmp_path, {"A": "2"}), fingerprint(tmp_path, {"A": "1", "B_FILE": "f"})}
    (tmp_path / "common" / "new.py").touch()
    assert fingerprint(tmp_path, {"A": "1"}) not in seen
    assert len(seen) == 3
