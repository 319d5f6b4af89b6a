"""What the launchers write for their servers."""

import base64
import hashlib
from pathlib import Path

import pytest

from deploy.servers import postgres, rabbitmq
from deploy.servers.launching import LaunchError, clean_environment, port

POSTGRES = postgres.PostgresServer(Path("/data"), 5432, 'we"ird', "it's", "db")
RABBITMQ = rabbitmq.RabbitMQServer(Path("/data"), 5672, 15672, 25672, 4369, "me", "secret", "/")


def test_names_and_passwords_are_quoted_for_sql() -> None:
    text = postgres.statements(POSTGRES)
    assert "ALTER ROLE \"we\"\"ird\" LOGIN PASSWORD 'it''s'" in text
    assert "CREATE ROLE" in text.splitlines()[0]
    assert len(text.splitlines()) == 3, "single-user mode takes a line as a statement"


def test_a_line_break_in_a_password_is_refused() -> None:
    with pytest.raises(LaunchError, match="unprintable"):
        postgres.literal("a\nDROP TABLE x")


def test_a_password_reaches_rabbitmq_as_its_salted_digest_only() -> None:
    written = base64.b64decode(rabbitmq.password_hash("secret", b"salt"))
    assert written == b"salt" + hashlib.sha256(b"saltsecret").digest()
    assert "secret" not in str(rabbitmq.definitions(RABBITMQ, b"salt"))
    assert "secret" not in str(rabbitmq.variables(RABBITMQ)) + rabbitmq.configuration(RABBITMQ)


def test_secrets_of_the_caller_do_not_reach_a_server() -> None:
    kept = clean_environment({"PATH": "/bin", "POSTGRES_PASSWORD": "secret", "RABBITMQ_NODENAME": "other"}, A="1")
    assert kept == {"PATH": "/bin", "LC_ALL": "C.UTF-8", "TZ": "UTC", "A": "1"}


@pytest.mark.parametrize("text", ["", "0", "65536", "5432x", "-1", "٣"])
def test_a_port_that_is_none_is_refused_with_its_name(text: str) -> None:
    with pytest.raises(LaunchError, match="PGPORT"):
        port({"PGPORT": text}, "PGPORT")


@pytest.mark.parametrize(
    ("flags", "version"), [("[classic_queue_type,stream_queue].", "3"), ("[stream_queue,'rabbitmq_4.0.0'].", "4")]
)
def test_the_version_of_data_from_before_it_was_noted_shows_in_its_features(
    tmp_path: Path, flags: str, version: str
) -> None:
    assert rabbitmq.data_version(tmp_path) == ""
    (tmp_path / "mnesia").mkdir()
    (tmp_path / "mnesia/ws-gateway@localhost-feature_flags").write_text(flags)
    assert rabbitmq.data_version(tmp_path) == version
    (tmp_path / "ws-gateway.version").write_text("3.12.1\n")
    assert rabbitmq.data_version(tmp_path) == "3.12.1"


def test_the_installed_version_is_read_from_its_folder(tmp_path: Path) -> None:
    program = tmp_path / "lib/rabbitmq_server-4.0.5/sbin/rabbitmq-server"
    program.parent.mkdir(parents=True)
    program.touch()
    (tmp_path / "rabbitmq-server").symlink_to(program)
    assert rabbitmq.installed_version(tmp_path / "rabbitmq-server") == "4.0.5"
    assert rabbitmq.installed_version(Path("/opt/rabbitmq-server")) == ""


def test_data_is_opened_by_the_server_of_its_own_version_where_that_is_installed(tmp_path: Path) -> None:
    for version in ("15", "17"):
        (tmp_path / version / "bin").mkdir(parents=True)
        (tmp_path / version / "bin/postgres").write_text(f"#!/bin/sh\necho 'postgres (PostgreSQL) {version}.2'")
        (tmp_path / version / "bin/postgres").chmod(0o755)
    newest = tmp_path / "17/bin/postgres"
    assert postgres.binary_for(tmp_path, newest) == newest
    (tmp_path / "PG_VERSION").write_text("15\n")
    assert postgres.binary_for(tmp_path, newest) == tmp_path / "15/bin/postgres"
    (tmp_path / "PG_VERSION").write_text("14\n")
    with pytest.raises(LaunchError, match="written by PostgreSQL 14, and PostgreSQL 17 is installed"):
        postgres.binary_for(tmp_path, newest)
