"""One private PostgreSQL in the foreground, reachable over loopback TCP only.

`python -m deploy.servers.postgres` takes PGDATA, POSTGRES_PORT, POSTGRES_USER, POSTGRES_PASSWORD and POSTGRES_DB.
Role, password and database are updated from these at each start.
"""

import os
import re
import shutil
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
from deploy.servers.reaching import SystemUser

# PostgreSQL leaves its working directory and returns by name, which fails below a private home (0700). An inherited
# descriptor leads to the data without a permission on the directories above it.
_DATA_FD = 9
_DATA = f"/proc/self/fd/{_DATA_FD}"
_COMPLETE = "ws-gateway.complete"  # exists in a cluster that initdb has completed
_MAKING = "ws-gateway.making"  # exists next to a cluster while initdb runs

_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",  # socket paths are limited in length, paths of clones are not
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
class PostgresServer:
    data: Path
    port: int
    user: str
    password: str
    database: str

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> "PostgresServer":
        return cls(
            data=Path(required(env, "PGDATA")).absolute(),
            port=port(env, "POSTGRES_PORT"),
            user=required(env, "POSTGRES_USER"),
            password=required(env, "POSTGRES_PASSWORD"),
            database=required(env, "POSTGRES_DB"),
        )


def launch(server: PostgresServer, env: Mapping[str, str]) -> None:
    postgres = binary_for(server.data, newest_binary())
    account = account_for(server.data, "postgres")
    surroundings = clean_environment(env)
    os.chdir("/")
    if not (server.data / _COMPLETE).exists():
        _create_cluster(server.data, postgres.with_name("initdb"), account, surroundings)
    _hold(server.data)
    step_down(account)
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
    """Program folders of each version on Debian, newest first."""
    found = Path("/usr/lib/postgresql").glob("*/bin")
    return [str(folder) for folder in sorted(found, key=lambda f: float(f.parent.name), reverse=True)]


def newest_binary() -> Path:
    return program("postgres", *binaries())


def binary_for(data: Path, newest: Path) -> Path:
    """The server program that can open this data: the newest, or an older one beside it. Raises LaunchError."""
    if not (data / "PG_VERSION").exists():
        return newest
    version = (data / "PG_VERSION").read_text().strip()
    beside = newest.parents[2] / version / "bin" / "postgres"
    if beside.exists():
        return beside
    if (found := _version_of(newest)) != version:
        raise LaunchError(
            f"{data} was written by PostgreSQL {version}, and PostgreSQL {found} is installed, which cannot open it. "
            f"Install postgresql-{version} beside it; or move the data over, see Newer servers in docs/running.md; "
            f"or start with an empty database: move {data} away and run again"
        )
    return newest


def _version_of(postgres: Path) -> str:
    words = subprocess.run([postgres, "--version"], capture_output=True, text=True, check=True).stdout.split()
    return words[2].partition(".")[0]


def statements(server: PostgresServer) -> str:
    """SQL that creates or updates role and password, one statement per line."""
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


def _create_cluster(data: Path, initdb: Path, account: SystemUser, env: Mapping[str, str]) -> None:
    """Create the cluster next to its place and move it there when complete, so that no partial cluster is ever used."""
    if any(data.iterdir()):
        raise LaunchError(
            f"{data} holds files, but no database that ws-gateway made, so it is left alone. Move it away; "
            f"or, if it is a complete database of yours, create the file {data / _COMPLETE}"
        )
    making = data.with_name(f"{data.name}.making")
    _remove_unfinished(making)
    cluster = making / "data"
    making.mkdir(mode=0o700)
    (making / _MAKING).touch()
    cluster.mkdir(mode=0o700)
    os.chown(cluster, account.uid, account.gid)
    _hold(cluster)
    _initdb(initdb, account, env)
    (cluster / _COMPLETE).touch()
    cluster.rename(data)
    shutil.rmtree(making)


def _remove_unfinished(making: Path) -> None:
    if making.exists():
        if any(making.iterdir()) and not (making / _MAKING).exists():
            raise LaunchError(f"{making} holds files that are not ours: move it away")
        shutil.rmtree(making)


def _initdb(initdb: Path, account: SystemUser, env: Mapping[str, str]) -> None:
    command = [str(initdb), "-D", _DATA, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8"]
    done = subprocess.run(
        command,
        env=env,
        pass_fds=[_DATA_FD],
        capture_output=True,
        text=True,
        preexec_fn=lambda: step_down(account),
    )
    if done.returncode != 0:
        raise LaunchError(f"initdb failed: {done.stderr.strip()}")


def _agree(server: PostgresServer, postgres: Path, env: Mapping[str, str]) -> None:
    """Update role, password and database in single-user mode: no password, no port, and nothing is logged."""
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
        launch(PostgresServer.from_env(env), env)
    except LaunchError as error:
        return refuse(error)
    return 0


if __name__ == "__main__":
    sys.exit(main(os.environ))
