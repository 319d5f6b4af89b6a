"""Prometheus metrics of one process over HTTP."""

import threading
from wsgiref.simple_server import WSGIServer

from prometheus_client import disable_created_metrics, start_http_server

from common.errors import ConfigError

PREFIX = "wsgw"

# They would be a second, unused series for every counter. Every process imports this module.
disable_created_metrics()  # type: ignore[no-untyped-call]


class MetricsServer:
    """Serves `/metrics` until stopped."""

    name = "metrics"

    def __init__(self, address: str, port: int) -> None:
        self._address = address
        self._port = port

    def run(self, stop: threading.Event) -> None:
        try:
            server, thread = start_http_server(self._port, self._address)
        except OSError as error:
            raise ConfigError(f"WS_GATEWAY_METRICS_PORT={self._port}: {error}") from error
        stop.wait()
        _close(server, thread)


def _close(server: WSGIServer, thread: threading.Thread) -> None:
    server.shutdown()
    server.server_close()
    thread.join()
