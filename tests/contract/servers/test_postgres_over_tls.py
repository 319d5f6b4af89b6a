"""PostgreSQL over TLS: what is verified, and what an error advises."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode

import psycopg2
import pytest
from sqlalchemy import text

from common import database as databases
from common import settings
from common.settings import Environment
from tests.conftest import need, served
from tests.kit.certificates import Authority
from tests.kit.servers import ROOT, Database
from tests.kit.tls_servers import TlsPostgres

NAME = "rows"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TlsPostgres]:
    need("postgres")
    for running in served(TlsPostgres(tmp_path_factory.mktemp("tls_postgres"))):
        running.on().execute(f"CREATE DATABASE {NAME}")
        yield running


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"), "ours")


@pytest.fixture
def database(server: TlsPostgres, authority: Authority) -> Database:
    server.use_tls(authority.issue("server"))
    return server.on(NAME)


def connector(database: Database, **more: str) -> databases.Connector:
    return databases.Connector(settings.postgres(Environment(database.environ() | more)), "TLS tests")


def error(database: Database, **more: str) -> str:
    with pytest.raises(psycopg2.OperationalError) as refused:
        connector(database, **more).connect()
    assert database.password not in str(refused.value)
    return str(refused.value)


def test_the_server_and_its_name_are_verified(database: Database, authority: Authority):
    postgres = settings.postgres(Environment(database.environ() | {"POSTGRES_SSLROOTCERT": str(authority.ca)}))
    engine = databases.engine(postgres, "TLS tests")
    with engine.connect() as connection:
        assert connection.execute(text("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()")).scalar_one()
    engine.dispose()
    assert postgres.sslmode == "verify-full"


def test_the_migrations_take_the_same_url(database: Database, authority: Authority, tmp_path: Path):
    url = f"{database.url()}?{urlencode({'sslmode': 'verify-full', 'sslrootcert': authority.ca})}"
    done = subprocess.run(
        [sys.executable, "-m", "alembic", "-c", str(ROOT / "alembic.ini"), "current"],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "DATABASE_URL": url},
        cwd=tmp_path,  # there may be an .env in the root
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr


def test_another_ca_is_refused(database: Database, tmp_path: Path):
    found = error(database, POSTGRES_SSLROOTCERT=str(Authority(tmp_path, "theirs").ca))
    assert "(POSTGRES_SSLROOTCERT must contain the CA that signed the server's certificate" in found


def test_another_name_is_refused(database: Database, authority: Authority):
    found = error(database, POSTGRES_SSLROOTCERT=str(authority.ca), POSTGRES_HOST="localhost")
    assert "(POSTGRES_HOST must be a name in the server's certificate)" in found


def test_an_expired_certificate_is_refused(server: TlsPostgres, database: Database, authority: Authority):
    server.use_tls(authority.issue("expired", days=-1))
    found = error(database, POSTGRES_SSLROOTCERT=str(authority.ca))
    assert "which must not have expired)" in found


def test_a_missing_ca_file_is_named(database: Database, tmp_path: Path):
    found = error(database, POSTGRES_SSLROOTCERT=str(tmp_path / "none.pem"))
    assert "none.pem" in found
    assert "(POSTGRES_SSLROOTCERT must be a readable file" in found


def test_a_client_certificate_is_presented_where_it_is_required(
    server: TlsPostgres, database: Database, authority: Authority
):
    server.use_tls(authority.issue("server"), client_ca=authority.ca)
    verified = {"POSTGRES_SSLROOTCERT": str(authority.ca)}
    assert "set POSTGRES_SSLCERT and POSTGRES_SSLKEY)" in error(database, **verified)
    mine = authority.issue("client")
    connector(database, **verified, POSTGRES_SSLCERT=str(mine.file), POSTGRES_SSLKEY=str(mine.key)).connect().close()


def test_a_client_certificate_of_another_ca_is_refused(
    server: TlsPostgres, database: Database, authority: Authority, tmp_path: Path
):
    server.use_tls(authority.issue("server"), client_ca=authority.ca)
    theirs = Authority(tmp_path, "theirs").issue("client")
    files = {"POSTGRES_SSLCERT": str(theirs.file), "POSTGRES_SSLKEY": str(theirs.key)}
    found = error(database, POSTGRES_SSLROOTCERT=str(authority.ca), **files)
    assert "POSTGRES_SSLCERT" in found  # the alert says more, where it arrives before the end of the connection


def test_a_key_that_others_may_read_is_refused(database: Database, authority: Authority):
    mine = authority.issue("client")
    mine.key.chmod(0o644)
    files = {"POSTGRES_SSLCERT": str(mine.file), "POSTGRES_SSLKEY": str(mine.key)}
    found = error(database, POSTGRES_SSLROOTCERT=str(authority.ca), **files)
    assert "(POSTGRES_SSLKEY must be the key of POSTGRES_SSLCERT" in found


def test_a_client_without_tls_is_advised_to_use_it(database: Database):
    assert "(the server may require TLS: set POSTGRES_SSLMODE)" in error(database, POSTGRES_SSLMODE="disable")


def test_a_server_without_tls_is_refused(server: TlsPostgres, database: Database, authority: Authority):
    server.without_tls()
    found = error(database, POSTGRES_SSLROOTCERT=str(authority.ca))
    assert "(this port does not use TLS: check POSTGRES_PORT and POSTGRES_SSLMODE)" in found
