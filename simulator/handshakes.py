"""Faulty handshakes."""

import asyncio
import base64
import hashlib

from aiohttp import web

from simulator.faults import Fault

FORMS = ("403", "429", "500", "502", "503", "drip", "hang")
GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # from RFC 6455


async def spoil(request: web.Request, fault: Fault) -> web.StreamResponse:
    """Answer the handshake according to the fault."""
    form = fault.details["form"]
    if form.isdigit():
        after_s = fault.details["retry_after_s"]
        return web.Response(status=int(form), headers={"Retry-After": str(after_s)} if form == "429" else {})
    if form == "drip":
        await _drip(request, fault.details["pause_s"])
    await _gone(request)
    return web.Response(status=503)


async def _drip(request: web.Request, pause_s: float) -> None:
    """A good answer, one byte at a time."""
    key = request.headers.get("Sec-WebSocket-Key", "")
    accept = base64.b64encode(hashlib.sha1((key + GUID).encode(), usedforsecurity=False).digest()).decode()
    answer = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    for byte in f"{answer}Sec-WebSocket-Accept: {accept}\r\n\r\n".encode():
        if request.transport is None:
            return
        request.transport.write(bytes((byte,)))
        await asyncio.sleep(pause_s)


async def _gone(request: web.Request) -> None:
    """Wait until the peer has closed the connection."""
    while request.transport is not None and not request.transport.is_closing():
        await asyncio.sleep(0.2)
