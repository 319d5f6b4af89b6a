"""One open connection: its queue of frames, and the ways to close it."""

import asyncio
import socket
import struct
from collections import deque
from contextlib import suppress
from random import Random

from aiohttp import WSMsgType, web

from simulator.faults import Frame

UNREAD_BYTES = 16 * 1024 * 1024  # a reader slower than this is cut; what Bybit does is not known
FINAL = 0x80

_LETTERS = "0123456789abcdefghijklmnopqrstuv"


def connection_id(random: Random) -> str:
    """Like d8bu1olkndm7crnfs1e0-j6akw."""
    return "".join(random.choices(_LETTERS, k=20)) + "-" + "".join(random.choices(_LETTERS, k=5))


class Connection:
    def __init__(self, conn_id: str, endpoint: str, peer: str, opened_s: float) -> None:
        self.id = conn_id
        self.endpoint = endpoint
        self.peer = peer
        self.opened_s = opened_s
        self.active_s = opened_s
        self.sent = 0
        self.received = 0
        self._waiting: deque[Frame | None] = deque()
        self._unread = 0
        self._work = asyncio.Event()
        self._socket: web.WebSocketResponse | None = None
        self._transport: asyncio.Transport | None = None

    def attach(self, websocket: web.WebSocketResponse, transport: asyncio.Transport | None) -> None:
        self._socket = websocket
        self._transport = transport

    def send(self, frame: Frame) -> None:
        """Queue a frame; close the connection when its reader is too slow."""
        self._waiting.append(frame)
        self._unread += len(frame.payload)
        self._work.set()
        if self._unread > UNREAD_BYTES:
            self.abort()

    def hang_up(self) -> None:
        """Close the connection after all queued frames."""
        self._waiting.append(None)
        self._work.set()

    async def write(self) -> None:
        """Send queued frames until the connection ends."""
        with suppress(ConnectionError):
            while True:
                await self._work.wait()
                self._work.clear()
                while self._waiting:
                    await self._write_next(self._waiting.popleft())

    async def _write_next(self, frame: Frame | None) -> None:
        assert self._socket is not None
        if frame is None:
            await self.close(1000, "")
            return
        if frame.pace == "pause":
            await asyncio.sleep(frame.pause_s)
            return
        if frame.pace == "whole":
            await self._socket.send_frame(frame.payload, WSMsgType(frame.opcode))
        else:
            await self._write_oddly(frame)
        self._unread -= len(frame.payload)
        self.sent += 1

    async def _write_oddly(self, frame: Frame) -> None:
        """Write the bytes of a frame without the library: in slow pieces, or only half of them."""
        assert self._transport is not None
        whole = _header(len(frame.payload), frame.opcode) + frame.payload
        if frame.pace == "half":
            self._transport.write(whole[: len(whole) // 2])
            await asyncio.Event().wait()
        size = -(-len(whole) // frame.pieces)
        for begin in range(0, len(whole), size):
            self._transport.write(whole[begin : begin + size])
            await asyncio.sleep(frame.pause_s)

    async def close(self, code: int, reason: str) -> None:
        """Close with a close frame, without waiting for the peer's."""
        if self._socket is not None:
            with suppress(ConnectionError):
                await self._socket.close(code=code, message=reason.encode(), drain=False)

    def abort(self) -> None:
        """Close without a close frame."""
        if self._transport is not None:
            self._transport.abort()

    def reset(self) -> None:
        """Close with a TCP reset."""
        if self._transport is None:
            return
        peer: socket.socket | None = self._transport.get_extra_info("socket")
        if peer is not None:
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._transport.abort()


def _header(length: int, opcode: int) -> bytes:
    """The start of an unmasked, unfragmented frame."""
    first = FINAL | opcode
    if length < 126:
        return bytes((first, length))
    if length < 65536:
        return bytes((first, 126)) + struct.pack("!H", length)
    return bytes((first, 127)) + struct.pack("!Q", length)
