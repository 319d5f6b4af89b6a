"""A bare machine for one test: a new Debian with mounts, processes and a network of its own."""

import contextlib
import fcntl
import os
import re
import shutil
import signal
import subprocess
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from deploy.run import processes
from tests.kit.servers import ROOT
from tests.kit.waiting import eventually

CLONE = "/root/ws-gateway"
LIVE_EVENT = re.compile(r"^  \d\d:\d\d:\d\d\.\d{3}  bybit\.trades +publicTrade\.BTCUSDT", re.MULTILINE)
SUITES = ["bookworm", "trixie"]

_INCLUDED = "python3,git,make,ca-certificates"
_CERTIFICATES = "etc/ssl/certs/ca-certificates.crt"
_SOURCE = "mnt/source"  # where the machine finds the repository to clone
_LISTENS = "0A"
_NETWORK, _OUTSIDE = "ws-gateway-bare", "wsgw-bare"  # the namespace, and our end of its cable
_TRANSLATED = ["POSTROUTING", "-s", "198.51.100.128/30", "-j", "MASQUERADE"]

# The first process of the machine: it adopts what loses its parent, as init does, and nothing else.
_INIT = """
import os, signal
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
while True:
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass
    signal.sigwait({signal.SIGCHLD})
"""

# All mounts are made inside the mount namespace, and end with it.
_ENTER = """
set -e
mount --make-rprivate /
mount --bind "$1" "$1"
mount -t proc proc "$1/proc"
mount -t tmpfs -o mode=755 dev "$1/dev"
for node in null zero full random urandom tty; do touch "$1/dev/$node"; mount --bind "/dev/$node" "$1/dev/$node"; done
mkdir "$1/dev/shm" "$1/dev/pts"
mount -t tmpfs -o mode=1777 shm "$1/dev/shm"
mount -t devpts -o newinstance,ptmxmode=0666,mode=620 devpts "$1/dev/pts"
ln -s pts/ptmx "$1/dev/ptmx"
ln -s /proc/self/fd "$1/dev/fd"
mkdir -p "$1/$3"
mount --bind -o ro "$2" "$1/$3"
exec chroot "$1" /usr/bin/python3 -c "$4"
"""


@dataclass(frozen=True, slots=True)
class Done:
    status: int
    output: str


class Machine:
    """Runs commands as root in a clean environment, until it is shut down."""

    def __init__(self, root: Path, pid: int) -> None:
        self.root = root
        self._init = pid

    def begin(self, command: str, folder: str = "/root") -> subprocess.Popen[str]:
        """Start it without waiting, in a session of its own."""
        enter = ["nsenter", f"--target={self._init}", "--mount", "--pid", "--net", "--root", "--wd"]
        environment = ["env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", f"PIP_CERT=/{_CERTIFICATES}"]
        return subprocess.Popen(
            [*enter, *environment, "bash", "-c", f"cd {folder} && {command}"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def run(self, command: str, folder: str = "/root", within_s: float = 900) -> Done:
        with self.begin(command, folder) as child:
            try:
                output, _ = child.communicate(timeout=within_s)
            except subprocess.TimeoutExpired:
                self.kill_all()
                raise
            return Done(child.returncode, output)

    def clone(self, folder: str) -> None:
        done = self.run(f"git -c safe.directory=/{_SOURCE} clone -q file:///{_SOURCE} {folder}")
        assert done.status == 0, done.output

    def path(self, inside: str) -> Path:
        return self.root / inside.lstrip("/")

    def find(self, pattern: str) -> list[Path]:
        """What matches this path, in which * stands for any part of a name."""
        return sorted(self.root.glob(pattern.lstrip("/")))

    def pids(self) -> list[int]:
        """Of everything that runs in it, but for its first process."""
        mine = _namespace(self._init)
        return [pid for pid in processes.all_pids() if pid != self._init and _namespace(pid) == mine]

    def processes(self) -> list[str]:
        return [processes.command_of(pid) for pid in self.pids() if processes.alive(pid)]

    def users(self) -> Counter[str]:
        """How many processes run as each user."""
        names = {line.split(":")[2]: line.split(":")[0] for line in self.path("/etc/passwd").read_text().splitlines()}
        return Counter(names[str(Path(f"/proc/{pid}").stat().st_uid)] for pid in self.pids() if processes.alive(pid))

    def listeners(self) -> list[str]:
        """Local addresses of the TCP sockets that listen."""
        tables = [Path(f"/proc/{self._init}/net/{name}").read_text() for name in ("tcp", "tcp6")]
        rows = [line.split() for table in tables for line in table.splitlines()[1:]]
        return [row[1] for row in rows if row[3] == _LISTENS]

    def mounts(self) -> list[str]:
        return [line.split()[1] for line in Path(f"/proc/{self._init}/mounts").read_text().splitlines()]

    def kill_all(self) -> None:
        """Kill all processes at once, like a power cut."""
        pids = self.pids()
        processes.send(pids, signal.SIGKILL)
        assert processes.gone(pids, 10), "killed processes are still there"


def left_by_the_installation(debian: Machine) -> list[Path]:
    """Files that keep services from starting, or belong to an installation that is not finished."""
    found = debian.find("/usr/sbin/policy-rc.d*") + debian.find("/var/lib/ws-gateway")
    clusters = debian.path("/etc/postgresql-common/createcluster.conf")
    packaged = debian.path("/usr/share/postgresql-common/createcluster.conf")
    return found + ([] if clusters.read_text() == packaged.read_text() else [clusters])


def enabled(debian: Machine) -> list[Path]:
    """Units that would start servers of the distribution at boot."""
    links = debian.find("/etc/systemd/system/*.wants/*") + debian.find("/etc/rc*.d/S*")
    return [link for link in links if re.search("postgresql|rabbitmq|epmd|nginx", link.name)]


@contextlib.contextmanager
def machine(suite: str, folder: Path) -> Iterator[Machine]:
    """A new machine of this release of Debian, the only one at a time; everything of it is gone afterwards."""
    root = folder / suite
    with contextlib.ExitStack() as cleanup:
        lock = cleanup.enter_context(open("/run/lock/ws-gateway-bare-machine", "w"))
        fcntl.flock(lock, fcntl.LOCK_EX)  # they share an address
        _build(suite, root)
        cleanup.callback(shutil.rmtree, root)
        cleanup.enter_context(_network())
        command = ["setpriv", "--pdeathsig", "KILL", "ip", "netns", "exec", _NETWORK]
        command += ["unshare", "--mount", "--pid", "--fork", "--kill-child"]
        command += ["sh", "-c", _ENTER, "sh", str(root), str(ROOT), _SOURCE, _INIT]
        holder = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)
        cleanup.callback(holder.wait)
        cleanup.callback(processes.end, [holder.pid], 0)
        yield Machine(root, eventually(lambda: _first_process(holder.pid, root), 10, "the machine runs"))


def _build(suite: str, root: Path) -> None:
    """Build it again, or copy a pristine one from the folder that WSGW_BARE_ROOTS names."""
    kept = os.environ.get("WSGW_BARE_ROOTS")
    if kept:
        subprocess.run(["cp", "-a", f"{kept}/{suite}", root], check=True)
    else:
        command = ["debootstrap", "--variant=minbase", f"--include={_INCLUDED}", suite, str(root), mirror()]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr
    for name in ("etc/resolv.conf", _CERTIFICATES):  # it trusts whom this machine trusts
        shutil.copyfile(f"/{name}", root / name)
    (root / "etc/hosts").write_text("127.0.0.1 localhost\n::1 localhost\n")


def mirror() -> str:
    """The one that this machine installs Debian's packages from."""
    texts = [path.read_text() for path in Path("/etc/apt").glob("sources.list*/**/*") if path.is_file()]
    texts += [path.read_text() for path in Path("/etc/apt").glob("sources.list") if path.is_file()]
    words = [word for text in texts for line in text.splitlines() if not line.startswith("#") for word in line.split()]
    found = [word for word in words if word.startswith("http") and word.rstrip("/").endswith("/debian")]
    assert found, "no source of Debian's packages in /etc/apt"
    return found[0]


@contextlib.contextmanager
def _network() -> Iterator[None]:
    """A network namespace behind a pair of interfaces, translated to this machine's own address."""
    _remove_network()  # of a run that was killed
    try:
        _ip("netns add", _NETWORK)
        _ip("link add", _OUTSIDE, "type veth peer name inside netns", _NETWORK)
        _ip("addr add 198.51.100.129/30 dev", _OUTSIDE)
        _ip("link set", _OUTSIDE, "up")
        for words in ("link set lo up", "addr add 198.51.100.130/30 dev inside", "link set inside up"):
            _ip("-n", _NETWORK, words)
        _ip("-n", _NETWORK, "route add default via 198.51.100.129")
        subprocess.run(["iptables", "-w", "-t", "nat", "-A", *_TRANSLATED], check=True)
        Path("/proc/sys/net/ipv4/ip_forward").write_text("1")  # left on: by the end others may need it, as Docker does
        yield
    finally:
        _remove_network()


def _remove_network() -> None:
    """The interfaces go with the namespace."""
    subprocess.run(["iptables", "-w", "-t", "nat", "-D", *_TRANSLATED], check=False, capture_output=True)
    subprocess.run(["ip", "netns", "del", _NETWORK], check=False, capture_output=True)


def _ip(*words: str) -> None:
    subprocess.run(["ip", *" ".join(words).split()], check=True)


def _first_process(holder: int, root: Path) -> int | None:
    """The child of `unshare`, once it has changed its root."""
    children = [pid for pid in processes.family_of(holder)[1:] if Path(f"/proc/{pid}/root").readlink() == root]
    return children[0] if children else None


def _namespace(pid: int) -> str:
    with contextlib.suppress(OSError):
        return str(Path(f"/proc/{pid}/ns/pid").readlink())
    return ""
