"""How PostgreSQL and RabbitMQ are reached: a URL, single variables, or both."""

from collections.abc import Callable
from pathlib import Path

import pytest

from common import settings
from common.errors import ConfigError
from common.settings import Environment, Postgres, RabbitMQ

DATABASE = "postgresql://me:secret@db:5433/rows?sslmode=verify-full&sslrootcert=/ca&sslcert=/cert&sslkey=/key"
BROKER = "amqps://me:secret@mq/events?cacertfile=/ca&certfile=/cert&keyfile=/key"
Read = Callable[[Environment], object]


def postgres(**values: str) -> Postgres:
    return checked(settings.postgres, values)


def rabbitmq(**values: str) -> RabbitMQ:
    return checked(settings.rabbitmq, values)


def checked(read: Callable[[Environment], settings.T], values: dict[str, str]) -> settings.T:
    env = Environment(values)
    found = read(env)
    env.checked()
    return found


def refused(read: Read, **values: str) -> str:
    with pytest.raises(ConfigError) as error:
        checked(read, values)
    return str(error.value)


def test_a_database_url_gives_every_part():
    assert postgres(DATABASE_URL=DATABASE) == Postgres(
        hosts=(("db", 5433),),
        database="rows",
        user="me",
        password="secret",
        sslmode="verify-full",
        sslrootcert="/ca",
        sslcert="/cert",
        sslkey="/key",
    )


def test_a_broker_url_gives_every_part():
    assert rabbitmq(RABBITMQ_URL=BROKER) == RabbitMQ(
        hosts=(("mq", 5671),),
        user="me",
        password="secret",
        vhost="events",
        tls=True,
        ca_file="/ca",
        cert_file="/cert",
        key_file="/key",
    )


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg2"])
def test_a_database_url_has_the_port_of_postgresql_and_our_defaults(scheme: str):
    found = postgres(DATABASE_URL=f"{scheme}://:secret@a,b:1")
    assert found.hosts == (("a", 5432), ("b", 1))
    assert (found.database, found.user, found.sslmode) == ("ws_gateway", "ws_gateway", "prefer")


def test_single_variables_add_what_a_url_does_not_contain(tmp_path: Path):
    file = tmp_path / "password"
    file.write_text("from-file\n")
    found = rabbitmq(RABBITMQ_URL="amqp://mq", RABBITMQ_PASSWORD_FILE=str(file), RABBITMQ_VHOST="v", RABBITMQ_USER="u")
    assert (found.hosts, found.password, found.vhost, found.user) == ((("mq", 5672),), "from-file", "v", "u")


def test_single_variables_may_repeat_a_url(tmp_path: Path):
    file = tmp_path / "password"
    file.write_text("secret")
    single = {
        "RABBITMQ_HOST": "a, b",
        "RABBITMQ_PORT": "5671",
        "RABBITMQ_TLS": "1",
        "RABBITMQ_PASSWORD_FILE": str(file),
    }
    assert rabbitmq(RABBITMQ_URL="amqps://me:secret@a,b", **single).hosts == (("a", 5671), ("b", 5671))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("RABBITMQ_HOST", "other"),
        ("RABBITMQ_PORT", "4472"),
        ("RABBITMQ_USER", "other"),
        ("RABBITMQ_PASSWORD", "other"),
        ("RABBITMQ_VHOST", "/"),
        ("RABBITMQ_TLS", "false"),
        ("RABBITMQ_CA_FILE", "/other"),
        ("RABBITMQ_CERT_FILE", "/other"),
        ("RABBITMQ_KEY_FILE", "/other"),
    ],
)
def test_a_variable_that_contradicts_the_url_is_named_without_a_secret(name: str, value: str):
    text = refused(settings.rabbitmq, RABBITMQ_URL=BROKER, **{name: value})
    assert text == f"RABBITMQ_URL contradicts {name}; remove the URL, or the variables that differ from it"


def test_a_password_file_that_contradicts_the_url_is_named(tmp_path: Path):
    file = tmp_path / "password"
    file.write_text("other")
    text = refused(settings.rabbitmq, RABBITMQ_URL=BROKER, RABBITMQ_PASSWORD_FILE=str(file))
    assert text.startswith("RABBITMQ_URL contradicts RABBITMQ_PASSWORD; remove")


def test_an_empty_parameter_of_a_url_is_none():
    found = postgres(DATABASE_URL="postgresql://me:secret@db?sslrootcert=", POSTGRES_SSLROOTCERT="/ca")
    assert found.sslrootcert == "/ca"


def test_all_contradictions_are_one_error():
    text = refused(
        settings.postgres, DATABASE_URL=DATABASE, POSTGRES_HOST="x", POSTGRES_DB="y", POSTGRES_SSLMODE="require"
    )
    assert text.startswith("DATABASE_URL contradicts POSTGRES_SSLMODE, POSTGRES_HOST, POSTGRES_DB; remove the URL")


def test_a_url_may_come_from_a_file(tmp_path: Path):
    file = tmp_path / "url"
    file.write_text(BROKER + "\n")
    assert rabbitmq(RABBITMQ_URL_FILE=str(file)).password == "secret"


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("amqp://me:SECRET/@mq", "must be percent-encoded"),
        ("http://me:SECRET@mq", "it must begin with amqp:// or amqps://"),
        ("amqp://me:SECRET@mq?heartbeat=5", "parameters heartbeat: allowed are cacertfile, certfile, keyfile"),
    ],
)
def test_a_wrong_url_is_explained_without_a_secret(url: str, reason: str):
    text = refused(settings.rabbitmq, RABBITMQ_URL=url, RABBITMQ_PASSWORD="p")
    assert text.startswith("RABBITMQ_URL ")
    assert reason in text
    assert "SECRET" not in text


def test_a_url_without_a_password_names_the_variables_for_it():
    assert refused(settings.rabbitmq, RABBITMQ_URL="amqp://me@mq").startswith("RABBITMQ_PASSWORD is required")


def test_tls_moves_the_default_port():
    assert rabbitmq(RABBITMQ_PASSWORD="p").hosts == (("127.0.0.1", 4472),)
    found = rabbitmq(RABBITMQ_PASSWORD="p", RABBITMQ_TLS="true", RABBITMQ_HOST="a,b:7")
    assert found.hosts == (("a", 5671), ("b", 7))


def test_several_database_hosts_may_have_ports_of_their_own():
    found = postgres(POSTGRES_PASSWORD="p", POSTGRES_HOST="a,b:5433", POSTGRES_PORT="5432")
    assert found.hosts == (("a", 5432), ("b", 5433))


def test_the_host_of_the_database_may_be_the_folder_of_its_socket():
    found = postgres(POSTGRES_PASSWORD="p", POSTGRES_HOST="/var/run/postgresql", POSTGRES_PORT="5432")
    assert found.hosts == (("/var/run/postgresql", 5432),)


def test_with_a_ca_the_name_of_the_database_server_is_verified_unless_a_mode_is_set():
    assert postgres(POSTGRES_PASSWORD="p", POSTGRES_SSLROOTCERT="/ca").sslmode == "verify-full"
    assert postgres(POSTGRES_PASSWORD="p", POSTGRES_SSLROOTCERT="/ca", POSTGRES_SSLMODE="prefer").sslmode == "prefer"


def test_a_client_certificate_may_replace_the_password_of_the_database():
    assert postgres(POSTGRES_SSLCERT="/cert", POSTGRES_SSLKEY="/key").password == ""


@pytest.mark.parametrize(
    ("read", "values", "error"),
    [
        (settings.postgres, {"POSTGRES_SSLCERT": "/c"}, "POSTGRES_SSLKEY is required, because POSTGRES_SSLCERT is set"),
        (settings.postgres, {"POSTGRES_SSLKEY": "/k"}, "POSTGRES_SSLCERT is required, because POSTGRES_SSLKEY is set"),
        (settings.postgres, {"POSTGRES_SSLMODE": "disable", "POSTGRES_SSLROOTCERT": "/c"}, "POSTGRES_SSLMODE=disable"),
        (settings.rabbitmq, {"RABBITMQ_TLS": "true", "RABBITMQ_KEY_FILE": "/k"}, "RABBITMQ_CERT_FILE is required"),
        (settings.rabbitmq, {"RABBITMQ_CA_FILE": "/c"}, "RABBITMQ_CA_FILE is used with TLS only; set RABBITMQ_TLS"),
    ],
)
def test_half_of_a_tls_setting_is_refused_with_the_other_half(read: Read, values: dict[str, str], error: str):
    assert error in refused(read, POSTGRES_PASSWORD="p", RABBITMQ_PASSWORD="p", **values)
