"""One private PostgreSQL in the foreground, reachable over loopback TCP only.

`python -m deploy.servers.postgres` takes PGDATA, POSTGRES_PORT, POSTGRES_USER, POSTGRES_PASSWORD and POSTGRES_DB.
Role, password and database are brought in line with these at each start.
"""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from deploy.servers.launching import (
    LaunchError,
    account_for,
    become,
    clean_environment,
    port,
    program,
    refuse,
    required,
    step_down,
)

# Postgres leaves its working directory and comes back by name, which fails below a private home (0700). Through an
# inherited descriptor the data is reached without a look at the directories above it.
_DATA_FD = 9
_DATA = f"/proc/self/fd/{_DATA_FD}"
_COMPLETE = "ws-gateway.complete"  # an interrupted initdb leaves a half-made cluster without this file

_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",  # paths of sockets are short, paths of clones are not
    "cluster_name": "ws-gateway",
    "shared_buffers": "32MB",
    "max_connections": "100",
    "max_wal_size": "256MB",
    "max_logical_replication_workers": "0",
    "jit": "off",
    "password_encryption": "scram-sha-256",
    "log_error_verbosity": "terse",
    "log_line_prefix": "%m [%p] %d ",
    "logging_collector": "off",
}
_HBA = "host all all 127.0.0.1/32 scram-sha-256\n"


@dataclass(frozen=True, slots=True)
class Postgres:
    data: Path
    port: int
    user: str
    password: str
    database: str

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> "Postgres":
        return cls(
            data=Path(required(env, "PGDATA")).absolute(),
            port=port(env, "POSTGRES_PORT"),
            user=required(env, "POSTGRES_USER"),
            password=required(env, "POSTGRES_PASSWORD"),
            database=required(env, "POSTGRES_DB"),
        )


def launch(server: Postgres, env: Mapping[str, str]) -> None:
    initdb = program("initdb", *binaries())
    postgres = initdb.with_name("postgres")
    account = account_for(server.data, "postgres")
    _hold(server.data)
    os.chdir("/")
    step_down(account)
    surroundings = clean_environment(env)
    if not Path(_DATA, _COMPLETE).exists():
        _create_cluster(initdb, surroundings)
    Path(_DATA, "pg_hba.conf").write_text(_HBA)
    _agree(server, postgres, surroundings)
    become(
        [postgres, "-D", _DATA, *_options(_SETTINGS | {"port": str(server.port)})],
        surroundings,
        leash=signal.SIGINT,  # Postgres' fast shutdown
    )


def installed() -> bool:
    try:
        program("initdb", *binaries())
    except LaunchError:
        return False
    return True


def binaries() -> Sequence[str]:
    """Where Debian keeps the programs of each version, the newest first."""
    found = Path("/usr/lib/postgresql").glob("*/bin")
    return [str(folder) for folder in sorted(found, key=lambda f: float(f.parent.name), reverse=True)]


def statements(server: Postgres) -> str:
    """What makes role and password as the settings say, one statement per line."""
    role, password = identifier(server.user), literal(server.password)
    return (
        f"DO {literal(f'BEGIN CREATE ROLE {role}; EXCEPTION WHEN duplicate_object THEN NULL; END')}\n"
        f"ALTER ROLE {role} LOGIN PASSWORD {password}\n"
        f"SELECT datname FROM pg_database WHERE datname = {literal(server.database)}\n"
    )


def identifier(name: str) -> str:
    return '"' + _one_line(name).replace('"', '""') + '"'


def literal(text: str) -> str:
    return "'" + _one_line(text).replace("'", "''") + "'"


def _one_line(text: str) -> str:
    if not text.isprintable():
        raise LaunchError("POSTGRES_USER, POSTGRES_PASSWORD or POSTGRES_DB holds an unprintable character")
    return text


def _hold(folder: Path) -> None:
    descriptor = os.open(folder, os.O_PATH | os.O_DIRECTORY)
    os.dup2(descriptor, _DATA_FD, inheritable=True)
    os.close(descriptor)


def _create_cluster(initdb: Path, env: Mapping[str, str]) -> None:
    subprocess.run(["/bin/sh", "-c", f"rm -rf {_DATA}/* {_DATA}/.[!.]*"], check=True, pass_fds=[_DATA_FD])
    command = [initdb, "-D", _DATA, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8"]
    done = subprocess.run(list(map(str, command)), env=env, pass_fds=[_DATA_FD], capture_output=True, text=True)
    if done.returncode != 0:
        raise LaunchError(f"initdb failed: {done.stderr.strip()}")
    Path(_DATA, _COMPLETE).touch()


def _agree(server: Postgres, postgres: Path, env: Mapping[str, str]) -> None:
    """Single-user mode needs no password and no port; the text travels over a pipe and is not logged."""
    found = _alone(postgres, statements(server), env)
    if not re.search(r"^\s*1: datname = ", found, re.MULTILINE):
        _alone(
            postgres,
            f"CREATE DATABASE {identifier(server.database)} OWNER {identifier(server.user)} TEMPLATE template0\n",
            env,
        )


def _alone(postgres: Path, text: str, env: Mapping[str, str]) -> str:
    quiet = {
        "log_min_error_statement": "panic",
        "log_min_messages": "error",
        "password_encryption": "scram-sha-256",
    }
    done = subprocess.run(
        [postgres, "--single", "-D", _DATA, *_options(quiet), "postgres"],
        input=text,
        env=env,
        pass_fds=[_DATA_FD],
        capture_output=True,
        text=True,
    )
    if done.returncode != 0 or "ERROR:" in done.stderr:
        raise LaunchError(f"Postgres refused its settings: {done.stderr.strip()}")
    return done.stdout


def _options(settings: Mapping[str, str]) -> list[str]:
    return [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]


def main(env: Mapping[str, str]) -> int:
    try:
        launch(Postgres.from_env(env), env)
    except LaunchError as error:
        return refuse(error)
    return 0


if __name__ == "__main__":
    sys.exit(main(os.environ))
