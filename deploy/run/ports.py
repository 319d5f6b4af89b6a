"""Find ports in use, by which process, and which setting to change."""

import errno
import os
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from deploy.run import processes

_LISTEN = "0A"
_SHOWN = 100


@dataclass(frozen=True, slots=True)
class Port:
    number: int
    variable: str
    host: str = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Holder:
    pid: int
    command: str


def taken(ports: Iterable[Port]) -> list[Port]:
    return [port for port in ports if not _free(port)]


def twice(ports: Iterable[Port]) -> list[tuple[Port, Port]]:
    """Pairs of settings with the same port."""
    first: dict[int, Port] = {}
    return [(first[port.number], port) for port in ports if first.setdefault(port.number, port) is not port]


def report(ports: Iterable[Port]) -> str:
    lines = ["nothing was started, because these ports are taken:"]
    lines += [explained(port, holder(port.number)) for port in ports]
    return "\n".join(lines)


def explained(port: Port, holder: Holder | None) -> str:
    who = f"pid {holder.pid}, {holder.command[:_SHOWN]}" if holder else "a process of another user"
    return f"  {port.number} is held by {who}\n       end that process, or choose another {port.variable} in .env"


def holder(number: int) -> Holder | None:
    inodes: set[str] = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        if Path(table).exists():
            inodes |= listening_inodes(Path(table).read_text(), number)
    for pid in processes.all_pids():
        if inodes & _sockets_of(pid):
            return Holder(pid, processes.command_of(pid))
    return None


def listening_inodes(table: str, number: int) -> set[str]:
    """Inodes of the sockets that listen on a port, from the text of /proc/net/tcp."""
    rows = [line.split() for line in table.splitlines()[1:]]
    return {row[9] for row in rows if row[3] == _LISTEN and int(row[1].rpartition(":")[2], 16) == number}


def _sockets_of(pid: int) -> set[str]:
    found = set()
    try:
        for descriptor in Path(f"/proc/{pid}/fd").iterdir():
            target = os.readlink(descriptor)  # noqa: PTH115  (resolve() would look for a file)
            if target.startswith("socket:["):
                found.add(target[8:-1])
    except OSError:
        pass  # ended meanwhile, or not readable by us
    return found


def _free(port: Port) -> bool:
    family = socket.AF_INET6 if ":" in port.host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((port.host, port.number))
        except OSError as error:
            return error.errno != errno.EADDRINUSE
        return True
