"""A stand-in for Bybit's linear and private endpoints that only writes frames at an exact rate.

`python -m bench.sender --port N` serves one WebSocket client of each at a time, and an empty list of instruments over
HTTP. Commands: `{"do": "send", "rate": 3000, "seconds": 10, "first": 0, "wallets": 20}`, either rate may be 0 ·
`{"do": "status"}`.
"""

import argparse
import base64
import hashlib
import json
import re
import select
import socket
import sys
import time
from contextlib import suppress

from bench.frames import Mix, now_us
from bench.protocol import Commands, Message, reply
from tests.kit import wallets

_MAGIC = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_LOOK_EVERY_S = 0.02  # interval of reading requests while frames are written
_MOST_TOGETHER = 64
_WRITES_APART_S = 0.0005  # frames that are due together go in one write, to stay cheap
_STUCK_S = 20.0  # a receiver that accepts nothing for this time is gone
_SEND_BUFFER = 2**18  # small, so that a slow reader becomes visible
_TEXT = 1
_CLOSE = 8
_PING = 9
_PONG = 10
_PRIVATE = b"/v5/private"
_WALLET = wallets.real("private.wallet.2023.jsonl")
_WALLET_MS = b"1699764599844"  # its creationTime, also in its id
_NO_INSTRUMENTS = {"retCode": 0, "retMsg": "OK", "result": {"list": [], "nextPageCursor": ""}}


class Peer:
    """A client connection; its requests are few and small."""

    def __init__(self, connected: socket.socket) -> None:
        self.socket = connected
        self.topics: set[str] = set()
        self.upgraded = False
        self.private = False
        self.gone = False
        self._rest = b""

    def receive(self) -> None:
        """Read what has arrived and reply to it."""
        try:
            chunk = self.socket.recv(65536)
        except BlockingIOError:
            return
        except OSError:
            chunk = b""
        if not chunk:
            self.close()
            return
        self._rest += chunk
        if not self.upgraded:
            self._greet()
        if self.upgraded:
            while self._next_frame():
                pass

    def write(self, data: bytes) -> None:
        """Write all data, waiting while the receiver is slow."""
        view = memoryview(data)
        while view and not self.gone:
            try:
                view = view[self.socket.send(view) :]
            except BlockingIOError:
                if not select.select([], [self.socket], [], _STUCK_S)[1]:
                    self.close()
            except OSError:
                self.close()

    def close(self) -> None:
        self.gone = True
        self.socket.close()

    def _greet(self) -> None:
        head, end, rest = self._rest.partition(b"\r\n\r\n")
        if not end:
            return
        self._rest = rest
        key = re.search(rb"(?im)^sec-websocket-key:\s*(\S+)", head)
        if key is None:
            body = json.dumps(_NO_INSTRUMENTS).encode()
            kind = b"Content-Type: application/json\r\nConnection: close\r\n"
            self.write(b"HTTP/1.1 200 OK\r\n%bContent-Length: %d\r\n\r\n%b" % (kind, len(body), body))
            self.close()
            return
        accept = base64.b64encode(hashlib.sha1(key[1] + _MAGIC).digest())
        upgrade = b"Upgrade: websocket\r\nConnection: Upgrade\r\n"
        self.write(b"HTTP/1.1 101 Switching Protocols\r\n%bSec-WebSocket-Accept: %b\r\n\r\n" % (upgrade, accept))
        self.upgraded = True
        self.private = _PRIVATE in head.partition(b"\r\n")[0]

    def _next_frame(self) -> bool:
        data = self._rest
        if len(data) < 2:
            return False
        size, at = data[1] & 0x7F, 2
        if size >= 126:
            wide = 2 if size == 126 else 8
            size, at = int.from_bytes(data[2 : 2 + wide], "big"), 2 + wide
        end = at + 4 + size
        if len(data) < end:
            return False
        key = data[at : at + 4]
        payload = bytes(byte ^ key[n % 4] for n, byte in enumerate(data[at + 4 : end]))
        self._rest = data[end:]
        self._take(data[0] & 0x0F, payload)
        return not self.gone

    def _take(self, opcode: int, payload: bytes) -> None:
        if opcode == _CLOSE:
            self.close()
        elif opcode == _PING:
            self.write(bytes((0x80 | _PONG, len(payload))) + payload)
        elif opcode == _TEXT:
            self._request(json.loads(payload))

    def _request(self, request: Message) -> None:
        op = request["op"]
        if op == "subscribe":
            self.topics |= set(request["args"])
        elif op == "unsubscribe":
            self.topics -= set(request["args"])
        reply = {
            "success": True,
            "ret_msg": "pong" if op == "ping" else "",
            "conn_id": "bench",
            "req_id": request.get("req_id", ""),
            "op": op,
        }
        self.send_text(json.dumps(reply).encode())

    def send_text(self, text: bytes) -> None:
        self.write((bytes((0x81, len(text))) if len(text) < 126 else b"\x81\x7e" + len(text).to_bytes(2, "big")) + text)


class Sender:
    """Runs in one thread; requests are read between two writes."""

    def __init__(self, port: int) -> None:
        self._listener = socket.create_server(("127.0.0.1", port))
        self._listener.setblocking(False)
        self._commands = Commands()
        self._peers: list[Peer] = []
        self._subscriber: Peer | None = None
        self._mix = Mix()

    def run(self) -> None:
        reply({"ready": True})
        while not self._commands.ended:
            for command in self._look(wait_s=0.5):
                match command["do"]:
                    case "status":
                        peer = self._to()
                        wallet = self._newest(private=True)
                        reply({"topics": sorted(peer.topics if peer else []), "wallet": bool(wallet and wallet.topics)})
                    case "send":
                        reply(
                            self._send(
                                command["rate"], command["seconds"], command["first"], command.get("wallets", 0.0)
                            )
                        )

    def _send(self, rate: float, seconds: float, first: int, wallets: float) -> Message:
        """Frame n is due n / rate seconds after the start; late frames are written later, or not at all."""
        peer = self._to()
        most = round(rate * seconds)
        most_wallets = round(wallets * seconds)
        if peer is None:
            return {"sent": 0, "late_ms": 0.0, "elapsed_s": 0.0}
        sent = 0
        sent_wallets = 0
        late_s = 0.0
        look_at = 0.0
        started = time.monotonic()
        while (sent < most or sent_wallets < most_wallets) and not peer.gone:
            now = time.monotonic()
            elapsed = now - started
            if elapsed > seconds + 1.0:
                break
            due = min(most, int(elapsed * rate) + 1)
            if sent_wallets < most_wallets and sent_wallets <= elapsed * wallets:
                sent_wallets += self._send_wallet()
            elif due > sent:
                late_s = elapsed - sent / rate
                until = min(due, sent + _MOST_TOGETHER)
                peer.write(self._frames(first + sent, first + until))
                sent = until
            else:
                next_at = min(
                    sent / rate if sent < most else seconds,
                    sent_wallets / wallets if sent_wallets < most_wallets else seconds,
                )
                time.sleep(max(_WRITES_APART_S, started + next_at - time.monotonic()))
            if now >= look_at:
                look_at = now + _LOOK_EVERY_S
                self._look(wait_s=0.0)
        return {
            "sent": sent,
            "late_ms": round(late_s * 1000, 3),
            "elapsed_s": time.monotonic() - started,
            "sent_wallets": sent_wallets,
        }

    def _send_wallet(self) -> int:
        """The number of messages sent: 1, or 0 without a private connection."""
        peer = self._newest(private=True)
        if peer is None:
            return 0
        peer.send_text(_WALLET.replace(_WALLET_MS, b"%d" % (time.time_ns() // 1_000_000)))
        return 1

    def _frames(self, first: int, until: int) -> bytes:
        sent_us, ts = now_us(), b"%d" % (time.time_ns() // 1_000_000)
        return b"".join([self._mix.next(number, sent_us, ts) for number in range(first, until)])

    def _to(self) -> Peer | None:
        """The connection that frames go to: the newest one; its books begin with their snapshots."""
        peer = self._newest(private=False)
        if peer is not self._subscriber:
            self._subscriber = peer
            self._mix.begin()
        return peer

    def _newest(self, private: bool) -> Peer | None:
        found = (each for each in reversed(self._peers) if each.upgraded and not each.gone)
        return next((each for each in found if each.private == private), None)

    def _look(self, wait_s: float) -> list[Message]:
        commands: list[Message] = []
        waiting = [self._listener.fileno(), self._commands.fileno(), *(peer.socket.fileno() for peer in self._peers)]
        readable = select.select(waiting, [], [], wait_s)[0]
        if self._commands.fileno() in readable:
            commands = self._commands.read()
        for peer in self._peers:
            if peer.socket.fileno() in readable:
                peer.receive()
        self._peers = [peer for peer in self._peers if not peer.gone]
        if self._listener.fileno() in readable:
            with suppress(BlockingIOError):
                self._welcome()
        return commands

    def _welcome(self) -> None:
        connected, _ = self._listener.accept()
        connected.setblocking(False)
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connected.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER)
        self._peers.append(Peer(connected))


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    Sender(parser.parse_args().port).run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
