"""One private RabbitMQ with its management plugin in the foreground, reachable over loopback only.

`python -m deploy.servers.rabbitmq` takes RABBITMQ_DATA, RABBITMQ_PORT, RABBITMQ_MANAGEMENT_PORT, RABBITMQ_DIST_PORT,
ERL_EPMD_PORT, RABBITMQ_USER, RABBITMQ_PASSWORD and RABBITMQ_VHOST. User, password and vhost are updated
from these at each start.
"""

import base64
import hashlib
import json
import os
import re
import resource
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
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
    step_down_into,
)

_BINARIES = "/usr/lib/rabbitmq/bin"  # the wrappers in /usr/sbin change user and folder
_EPMD_WITHIN_S = 5.0
_DESCRIPTORS = 20000
_USER = "rabbitmq"  # from the package
_VERSION = "ws-gateway.version"  # version of the server that last opened the data


@dataclass(frozen=True, slots=True)
class RabbitMQServer:
    data: Path
    port: int
    management_port: int
    dist_port: int
    epmd_port: int
    user: str
    password: str
    vhost: str

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> "RabbitMQServer":
        return cls(
            data=Path(required(env, "RABBITMQ_DATA")).absolute(),
            port=port(env, "RABBITMQ_PORT"),
            management_port=port(env, "RABBITMQ_MANAGEMENT_PORT"),
            dist_port=port(env, "RABBITMQ_DIST_PORT"),
            epmd_port=port(env, "ERL_EPMD_PORT"),
            user=required(env, "RABBITMQ_USER"),
            password=required(env, "RABBITMQ_PASSWORD"),
            vhost=required(env, "RABBITMQ_VHOST"),
        )


def launch(server: RabbitMQServer, env: Mapping[str, str]) -> None:
    binary = program("rabbitmq-server", _BINARIES)
    check_version(server.data)
    surroundings = clean_environment(env, **variables(server))
    step_down_into([server.data], account_for(server.data, _USER))
    os.chdir(server.data)
    (server.data / _VERSION).write_text(installed_version(binary))
    _write_files(server)
    _allow_many_connections()
    _start_epmd(server, surroundings)
    become([binary], surroundings, leash=signal.SIGTERM)


def installed() -> bool:
    try:
        program("rabbitmq-server", _BINARIES)
    except LaunchError:
        return False
    return True


def check_version(data: Path) -> None:
    """Raise LaunchError when the installed server cannot open the data."""
    ours, theirs = data_version(data), installed_version(program("rabbitmq-server", _BINARIES))
    if ours and theirs and ours.partition(".")[0] != theirs.partition(".")[0]:
        raise LaunchError(
            f"{data} was written by RabbitMQ {ours}, and RabbitMQ {theirs} is installed, which cannot open it. "
            f"Run the version before until every queue has been read, see Newer servers in docs/running.md; "
            f"or give up what waits in the queues: move {data} away and run again"
        )


def data_version(data: Path) -> str:
    """The version that wrote this data, or only its major number; empty when unknown."""
    if (data / _VERSION).exists():
        return (data / _VERSION).read_text().strip()
    flags = [path.read_text() for path in (data / "mnesia").glob("*-feature_flags")]
    return ("4" if any("rabbitmq_4" in text for text in flags) else "3") if flags else ""


def installed_version(binary: Path) -> str:
    """The version from the name of a folder that every package has; empty when unknown."""
    found = re.search(r"rabbitmq_server-([0-9.]+)", str(binary.resolve()))
    return found[1] if found else ""


def variables(server: RabbitMQServer) -> dict[str, str]:
    data = server.data
    return {
        "HOME": str(data),  # the Erlang cookie lives here
        "RUNNING_UNDER_SYSTEMD": "1",  # the script becomes the node, so our pid is the node's
        "RABBITMQ_NODENAME": "ws-gateway@localhost",  # fixed, because the data directory is named after it
        "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
        "RABBITMQ_NODE_PORT": str(server.port),
        "RABBITMQ_DIST_PORT": str(server.dist_port),
        "ERL_EPMD_PORT": str(server.epmd_port),
        "ERL_EPMD_ADDRESS": "127.0.0.1",
        "RABBITMQ_MNESIA_BASE": str(data / "mnesia"),
        "RABBITMQ_LOG_BASE": str(data / "log"),
        "RABBITMQ_LOGS": "-",
        "RABBITMQ_PID_FILE": str(data / "node.pid"),
        "RABBITMQ_GENERATED_CONFIG_DIR": str(data / "generated"),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(data / "enabled_plugins"),
        "RABBITMQ_CONF_ENV_FILE": str(data / "environment.conf"),  # empty, or /etc/rabbitmq would be read
        "RABBITMQ_CONFIG_FILE": str(data / "rabbitmq.conf"),
        "RABBITMQ_CONFIG_FILES": str(data / "conf.d"),
        "RABBITMQ_ADVANCED_CONFIG_FILE": str(data / "advanced.config"),
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": (
            "+S 2:2 +swt very_high +SDcpu 1:1 +SDio 2 +A 2 +P 65536 +Q 65536 "  # small
            "-start_epmd false -kernel inet_dist_use_interface {127,0,0,1}"
        ),
    }


def configuration(server: RabbitMQServer) -> str:
    return f"""\
listeners.tcp.default = 127.0.0.1:{server.port}
management.tcp.ip = 127.0.0.1
management.tcp.port = {server.management_port}
load_definitions = {server.data / "definitions.json"}
loopback_users = none
log.console.level = info
log.file = false
# what quorum queues hold in memory before it becomes a segment file
raft.wal_max_size_bytes = 33554432
"""


def definitions(server: RabbitMQServer, salt: bytes) -> dict[str, object]:
    """Definitions of user, vhost and permissions, imported at each start; the password only as a salted digest."""
    return {
        "users": [
            {
                "name": server.user,
                "password_hash": password_hash(server.password, salt),
                "hashing_algorithm": "rabbit_password_hashing_sha256",
                "tags": "administrator",
            }
        ],
        "vhosts": [{"name": server.vhost}],
        "permissions": [{"user": server.user, "vhost": server.vhost, "configure": ".*", "write": ".*", "read": ".*"}],
    }


def password_hash(password: str, salt: bytes) -> str:
    return base64.b64encode(salt + hashlib.sha256(salt + password.encode()).digest()).decode()


def _write_files(server: RabbitMQServer) -> None:
    (server.data / "conf.d").mkdir(exist_ok=True)
    (server.data / "environment.conf").touch()
    (server.data / "enabled_plugins").write_text("[rabbitmq_management].\n")
    (server.data / "rabbitmq.conf").write_text(configuration(server))
    users = server.data / "definitions.json"
    users.touch(mode=0o600)
    users.write_text(json.dumps(definitions(server, secrets.token_bytes(4))))


def _allow_many_connections() -> None:
    """Raise the limit of 1024 descriptors, of which RabbitMQ reserves half for files."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _DESCRIPTORS if most == resource.RLIM_INFINITY else min(_DESCRIPTORS, most)
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))


def _start_epmd(server: RabbitMQServer, env: Mapping[str, str]) -> None:
    """Start the name server of Erlang as a child that ends with the node; as a daemon it would outlive it."""
    subprocess.Popen(
        ["setpriv", "--pdeathsig", "KILL", program("epmd"), "-address", "127.0.0.1", "-port", str(server.epmd_port)],
        env=env,
        stdin=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + _EPMD_WITHIN_S
    while not _listens(server.epmd_port):
        if time.monotonic() > deadline:
            raise LaunchError(f"epmd does not listen on ERL_EPMD_PORT={server.epmd_port}")
        time.sleep(0.02)


def _listens(number: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", number)) == 0


def main(env: Mapping[str, str]) -> int:
    try:
        launch(RabbitMQServer.from_env(env), env)
    except LaunchError as error:
        return refuse(error)
    return 0


if __name__ == "__main__":
    sys.exit(main(os.environ))
