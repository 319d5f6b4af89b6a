"""Configuration of gunicorn for the api: `gunicorn -c deploy/gunicorn.conf.py api.wsgi:app`."""

import os
import shutil
import socket
import struct
import tempfile
from pathlib import Path
from typing import Any

import api.http.rate_limit  # noqa: F401  # allocates its memory before the workers are forked, so that they share it
from api.settings import of_process
from common import entrypoint

_settings = entrypoint.run("api", of_process)  # a wrong value exits here, before workers exist

bind = f"{_settings.bind}:{_settings.port}"
worker_class = "api.http.gunicorn_worker.DeadlineWorker"  # gthread, with deadlines
workers = 2
threads = 8
timeout = 30
graceful_timeout = 15  # < supervisor's stopwaitsecs
keepalive = 5
max_requests = 0  # no restarts: there is no leak to hide
worker_tmp_dir = "/dev/shm"  # noqa: S108  # a heartbeat file on a disk would wait for that disk
control_socket_disable = True
preload_app = False  # engines and sockets must not be shared by a fork
forwarded_allow_ips = ""  # ignored here; the api itself trusts those of WS_GATEWAY_PROXIES
limit_request_line = 8190
limit_request_fields = 64
limit_request_field_size = 8190
accesslog = None  # the api logs each request itself
errorlog = "-"
loglevel = "warning"

_NICE = 10  # events before callers: when callers use all cores, events would be late
_STALLS_AFTER_S = 8  # longer than the worker waits for headers

_METRICS = "wsgw-api-metrics"
for _left in Path(worker_tmp_dir).glob(f"{_METRICS}-*-*"):  # left by a killed one
    if not Path("/proc", _left.name.split("-")[3]).exists():
        shutil.rmtree(_left, ignore_errors=True)
os.environ["PROMETHEUS_MULTIPROC_DIR"] = tempfile.mkdtemp(prefix=f"{_METRICS}-{os.getpid()}-", dir=worker_tmp_dir)


def when_ready(server: Any) -> None:
    """Give no thread to a connection that sends nothing, and take it from one that stalls within a body.

    Connections inherit both options from the listener, and the kernel enforces them: a timeout of Python would cost
    another system call for each read and write.
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
