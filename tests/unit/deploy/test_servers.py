"""What the launchers write for their servers."""

import base64
import hashlib
from pathlib import Path

import pytest

from deploy.servers import postgres, rabbitmq
from deploy.servers.launching import LaunchError, clean_environment, port

POSTGRES = postgres.Postgres(Path("/data"), 5432, 'we"ird', "it's", "db")
RABBITMQ = rabbitmq.RabbitMQ(Path("/data"), 5672, 15672, 25672, 4369, "me", "secret", "/")


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
