"""A TCP proxy that a test can stop, start, make deaf, or have reset its connections."""

import contextlib
import selectors
import socket
import struct
import threading

from tests.kit.servers import free_port

_CHUNK = 65536


class Proxy:
    """Forwards `host:port` to a target, in a thread of its own, until it is closed.

    with Proxy("127.0.0.1", 5672) as proxy:
        connect(proxy.host, proxy.port)
        proxy.deafen()      # connections open and stay open, but no data passes
        proxy.hear()        # waiting data passes
        proxy.reset()       # every open connection ends with a RST
        proxy.stop()        # connections end, new ones are refused
        proxy.start()       # on the same port
    """

    host = "127.0.0.1"

    def __init__(self, target_host: str, target_port: int) -> None:
        self.port = free_port()
        self.accepted = 0
        self._target = (target_host, target_port)
        self._deaf = threading.Event()
        self._pairs: set[_Pair] = set()
        self._lock = threading.Lock()
        self._listener: socket.socket | None = None
        self._thread: threading.Thread | None = None

    def __enter__(self) -> "Proxy":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        if self._listener is None:
            self._listener = socket.create_server((self.host, self.port))
            self._thread = threading.Thread(target=self._accept, args=[self._listener], name="proxy", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """Close every connection and refuse new ones."""
        listener, thread = self._listener, self._thread
        self._listener = self._thread = None
        if listener is not None and thread is not None:
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)  # wakes accept()
            thread.join()
            listener.close()
        self._end_all(reset=False)
        self.hear()

    def reset(self) -> None:
        """Close every connection with a RST; accept new ones."""
        self._end_all(reset=True)

    def deafen(self) -> None:
        """Accept, keep open and forward nothing in either direction."""
        self._deaf.set()

    def hear(self) -> None:
        self._deaf.clear()
        with self._lock:
            for pair in self._pairs:
                pair.wake()

    @property
    def open_connections(self) -> int:
        with self._lock:
            return len(self._pairs)

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            self.accepted += 1
            threading.Thread(target=self._serve, args=[client], name="proxy pair", daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        try:
            server = socket.create_connection(self._target, timeout=5)
        except OSError:
            client.close()
            return
        pair = _Pair(client, server, self._deaf)
        with self._lock:
            self._pairs.add(pair)
        try:
            pair.forward()
        finally:
            with self._lock:
                self._pairs.discard(pair)
            pair.close()

    def _end_all(self, *, reset: bool) -> None:
        with self._lock:
            pairs = list(self._pairs)
        for pair in pairs:
            pair.end(reset=reset)
        for pair in pairs:
            pair.ended.wait(5)


class _Pair:
    """One client connection and its server connection, with the data between them."""

    def __init__(self, client: socket.socket, server: socket.socket, deaf: threading.Event) -> None:
        self.ended = threading.Event()
        self._ends = (client, server)
        self._deaf = deaf
        self._bell, self._ear = socket.socketpair()
        self._over = False
        self._reset = False
        for end in self._ends:
            end.settimeout(30)
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def wake(self) -> None:
        with contextlib.suppress(OSError):
            self._bell.send(b"!")

    def end(self, *, reset: bool) -> None:
        self._reset, self._over = reset, True
        self.wake()

    def forward(self) -> None:
        client, server = self._ends
        other = {client: server, server: client}
        with contextlib.suppress(OSError), selectors.DefaultSelector() as selector:
            selector.register(self._ear, selectors.EVENT_READ)
            for end in self._ends:
                selector.register(end, selectors.EVENT_READ)
            while not self._over:
                ready = [key.fileobj for key, _ in selector.select()]
                if self._ear in ready:
                    self._ear.recv(_CHUNK)
                elif self._deaf.is_set():
                    self._sleep_deaf(selector)
                else:
                    for source in ready:
                        assert isinstance(source, socket.socket)
                        if not (chunk := source.recv(_CHUNK)):
                            return
                        other[source].sendall(chunk)

    def _sleep_deaf(self, selector: selectors.BaseSelector) -> None:
        """Wait for `wake` only, because unread bytes would make a select return at once."""
        for end in self._ends:
            selector.unregister(end)
        while self._deaf.is_set() and not self._over:
            selector.select()
            self._ear.recv(_CHUNK)
        for end in self._ends:
            selector.register(end, selectors.EVENT_READ)

    def close(self) -> None:
        for end in self._ends:
            if self._reset:
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            end.close()
        self._bell.close()
        self._ear.close()
        self.ended.set()
