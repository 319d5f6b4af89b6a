"""The supervisord of this clone: configuration, start, programs, stop."""

import contextlib
import hashlib
import http.client
import os
import shutil
import signal
import socket
import subprocess
import xmlrpc.client
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from deploy.run import processes
from deploy.run.screen import Failure

GROUP = "gateway"
_LONGEST_SOCKET = 95  # of 107 bytes, because supervisord appends its pid to the path
_ANSWERS_WITHIN_S = 10.0
_STOPS_WITHIN_S = 60.0
_LISTENS_WITHIN_S = 5.0
_UNDER_WAY = ("RUNNING", "STARTING", "BACKOFF")
_OVER = ("STOPPED", "EXITED", "FATAL", "BACKOFF", "UNKNOWN")

# Producers before consumers, so that queues drain; the servers stop with supervisord itself.
_STOP_ORDER = (("api", "ingestor"), ("persister",), ("simulator",))


@dataclass(frozen=True, slots=True)
class Program:
    """The state of a program as supervisord reports it."""

    name: str
    state: str
    exit_status: int


class Supervisor:
    def __init__(self, root: Path) -> None:
        self.root = root
        self.folder = root / ".run"
        self.config = self.folder / "supervisord.conf"
        self.socket = socket_path(self.folder)

    def answers(self) -> bool:
        with contextlib.suppress(OSError, http.client.HTTPException, xmlrpc.client.Error):
            return bool(self._rpc().getState())
        return False

    def launch(self) -> None:
        """Start supervisord without programs and wait until it responds."""
        self.prepare_folder()
        with open(self.folder / "log" / "supervisord.out", "wb") as output:
            child = subprocess.Popen(
                [self.root / ".venv/bin/python", "-m", "supervisor.supervisord", "-c", self.config],
                cwd=self.root,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C in this terminal must not reach supervisord
            )

        def decided() -> bool:
            return self.answers() or child.poll() is not None

        try:
            if not processes.until(decided, _ANSWERS_WITHIN_S) or child.returncode is not None:
                raise Failure(f"supervisord did not start: {(self.folder / 'log/supervisord.out').read_text().strip()}")
        except BaseException:
            processes.end([child.pid], _LISTENS_WITHIN_S)
            child.wait()
            raise

    def prepare_folder(self) -> None:
        self.folder.mkdir(mode=0o700, exist_ok=True)
        if self.folder.stat().st_uid != os.geteuid():
            owner = self.folder.stat().st_uid
            raise Failure(f"{self.folder} belongs to user {owner}: run as that user, or let it run `make clean`")
        if os.geteuid() == 0:
            self.folder.chmod(0o711)  # lets unprivileged users reach their own folders in it
        (self.folder / "log").mkdir(mode=0o700, exist_ok=True)
        self.socket.parent.mkdir(mode=0o700, exist_ok=True)
        if self.socket.parent.stat().st_uid != os.geteuid():
            raise Failure(f"{self.socket.parent} belongs to another user: remove it")
        self.config.write_text(rendered((self.root / "deploy/supervisor/run.conf").read_text(), self.socket))

    def start(self, *programs: str) -> None:
        for program in programs:
            if self.state(program) not in _UNDER_WAY:
                self._rpc().startProcess(f"{GROUP}:{program}", False)

    def state(self, program: str) -> str:
        return self.states().get(program, "UNKNOWN")

    def states(self) -> dict[str, str]:
        return {each.name: each.state for each in self.programs()}

    def programs(self) -> list[Program]:
        found = self._rpc().getAllProcessInfo()
        assert isinstance(found, list)
        return [Program(each["name"], each["statename"], each["exitstatus"]) for each in found]

    def stop(self, waiting: Callable[[], None] = lambda: None, patience_s: float = _STOPS_WITHIN_S) -> bool:
        """Stop everything in order and leave no process; return whether there was one."""
        pid = self.pid()
        if pid is not None:
            self._stop_programs(waiting, patience_s)
            family = processes.family_of(pid)
            processes.send([pid], signal.SIGTERM)
            it_left = processes.gone([pid], patience_s, waiting)
            if not it_left or not processes.gone(family, _LISTENS_WITHIN_S):  # its children need a moment to end
                processes.send(family, signal.SIGKILL)
                processes.gone(family, _LISTENS_WITHIN_S)
        lost = self.end_lost()
        if self.socket.parent != self.folder:
            shutil.rmtree(self.socket.parent, ignore_errors=True)
        return lost or pid is not None

    def end_lost(self) -> bool:
        """Stop the programs of a supervisord that was killed."""
        lost = processes.with_variable("SUPERVISOR_SERVER_URL", f"unix://{self.socket}")
        if lost and self.pid() is None:
            processes.end(lost, _STOPS_WITHIN_S)
        return bool(lost)

    def pid(self) -> int | None:
        """The pid of the supervisord with our configuration, whether it responds or not."""
        try:
            pid = int((self.folder / "supervisord.pid").read_text())
        except (OSError, ValueError):
            return None
        return pid if processes.alive(pid) and str(self.config) in processes.command_of(pid) else None

    def log_tail(self, program: str, lines: int = 15) -> Sequence[str]:
        with contextlib.suppress(OSError):
            return (self.folder / "log" / f"{program}.log").read_text(errors="replace").splitlines()[-lines:]
        return []

    def _stop_programs(self, waiting: Callable[[], None], within_s: float) -> None:
        with contextlib.suppress(OSError, http.client.HTTPException, xmlrpc.client.Error):
            for programs in _STOP_ORDER:
                for program in programs:
                    if self.state(program) not in _OVER:
                        self._rpc().stopProcess(f"{GROUP}:{program}", False)
                processes.until(partial(self._over, programs), within_s, waiting)

    def _over(self, programs: Sequence[str]) -> bool:
        states = self.states()
        return all(states.get(program, "STOPPED") in _OVER for program in programs)

    def _rpc(self) -> xmlrpc.client.ServerProxy:
        server = xmlrpc.client.ServerProxy("http://localhost", transport=_OverSocket(self.socket))
        return server.supervisor  # type: ignore[return-value]


def socket_path(folder: Path) -> Path:
    """In the run folder, or elsewhere when that path is too long."""
    near = folder / "supervisor.sock"
    if len(os.fsencode(near)) <= _LONGEST_SOCKET:
        return near
    name = hashlib.sha256(os.fsencode(folder)).hexdigest()[:12]
    return Path(f"/tmp/ws-gateway-{os.geteuid()}-{name}/supervisor.sock")  # noqa: S108  (0700, and the owner is checked)


def rendered(template: str, socket_file: Path) -> str:
    return template.replace("{socket}", str(socket_file).replace("%", "%%"))


class _OverSocket(xmlrpc.client.Transport):
    """XML-RPC over a UNIX socket."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path

    def make_connection(self, _: object) -> http.client.HTTPConnection:
        return _SocketConnection(self._path)


class _SocketConnection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=_ANSWERS_WITHIN_S)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))
