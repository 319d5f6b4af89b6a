"""An adapter for requests that bounds the arrival of an answer's head.

The timeout of requests starts again with each byte, so a server that sends a header byte by byte is never late.
"""

import socket
import threading
from typing import Any

from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.response import HTTPResponse


class DeadlineConnection(HTTPConnection):
    """Shut down when the head of the answer does not arrive within the timeout of the request."""

    def getresponse(self) -> HTTPResponse:  # type: ignore[override]
        """Raises TimeoutError, also where the shutdown itself looks like a peer that hung up."""
        late = threading.Event()
        watchdog = threading.Timer(float(self.timeout or 0), _shut_down, [self.sock, late])
        watchdog.daemon = True
        watchdog.start()
        try:
            return super().getresponse()
        except OSError as error:
            if late.is_set():
                raise TimeoutError(f"no answer within {self.timeout:g} s") from error
            raise
        finally:
            watchdog.cancel()
            if late.is_set():  # what the read made of the end of the connection is not the cause
                raise TimeoutError("the head of the answer did not arrive in time")


class DeadlineTlsConnection(DeadlineConnection, HTTPSConnection):
    pass


class DeadlinePool(HTTPConnectionPool):
    ConnectionCls = DeadlineConnection


class DeadlineTlsPool(HTTPSConnectionPool):
    ConnectionCls = DeadlineTlsConnection


class DeadlineAdapter(HTTPAdapter):
    def init_poolmanager(self, *args: Any, **more: Any) -> None:
        super().init_poolmanager(*args, **more)
        self.poolmanager.pool_classes_by_scheme = {"http": DeadlinePool, "https": DeadlineTlsPool}


def _shut_down(connection: socket.socket, late: threading.Event) -> None:
    """Ends the read in the other thread; the socket alone, because TLS may be in use there."""
    late.set()
    try:
        socket.socket.shutdown(connection, socket.SHUT_RDWR)
    except OSError:
        return  # it is closed already
