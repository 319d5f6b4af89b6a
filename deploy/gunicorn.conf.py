"""How gunicorn serves the api: `gunicorn -c deploy/gunicorn.conf.py api.wsgi:app`."""

import os
import shutil
import socket
import struct
import tempfile
from pathlib import Path
from typing import Any

import api.http.rate_limit  # noqa: F401  # its memory is to be there before the workers are forked, so that they share it
from api.settings import of_process
from common import entrypoint

_settings = entrypoint.run("api", of_process)  # a wrong value ends us here, before there are workers

bind = f"{_settings.bind}:{_settings.port}"
worker_class = "api.http.gunicorn_worker.Worker"  # gthread, with deadlines
workers = 2
threads = 8
timeout = 30
graceful_timeout = 15  # < supervisor's stopwaitsecs
keepalive = 5
max_requests = 0  # nothing leaks that a restart would have to hide
worker_tmp_dir = "/dev/shm"  # noqa: S108  # a heartbeat on a disk can wait for that disk
control_socket_disable = True
preload_app = False  # engines and sockets are not shared through a fork
forwarded_allow_ips = ""  # do not trust forwarded headers; WS_GATEWAY_PROXIES says whose the api itself trusts
limit_request_line = 8190
limit_request_fields = 64
limit_request_field_size = 8190
accesslog = None  # the api writes its own line per request
errorlog = "-"
loglevel = "warning"

_NICE = 10  # callers can wait, the exchange does not: with cores taken up by callers events would come late
_STALLS_AFTER_S = 8  # longer than the worker's patience with headers

_FIGURES = "wsgw-api-metrics"
for _left in Path(worker_tmp_dir).glob(f"{_FIGURES}-*-*"):  # by one that was killed
    if not Path("/proc", _left.name.split("-")[3]).exists():
        shutil.rmtree(_left, ignore_errors=True)
os.environ["PROMETHEUS_MULTIPROC_DIR"] = tempfile.mkdtemp(prefix=f"{_FIGURES}-{os.getpid()}-", dir=worker_tmp_dir)


def when_ready(server: Any) -> None:
    """A connection that sends nothing gets no thread, and one that stalls in the middle of a body loses it.

    Connections inherit both from the listener, and the kernel keeps them: a timeout of Python's would be a system call
    more for each read and write.
    """
    for listener in server.LISTENERS:
        listener.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, 5)
        listener.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", _STALLS_AFTER_S, 0))


def post_fork(_server: Any, _worker: Any) -> None:
    os.nice(_NICE)


def child_exit(_server: Any, worker: Any) -> None:
    from prometheus_client import multiprocess

    multiprocess.mark_process_dead(worker.pid)  # type: ignore[no-untyped-call]


def on_exit(_server: Any) -> None:
    shutil.rmtree(Path(os.environ["PROMETHEUS_MULTIPROC_DIR"]), ignore_errors=True)
