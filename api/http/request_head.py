"""How much of a request must have arrived before it is given a thread."""

import re

MAX_BUFFERED = 32_768  # a socket certainly holds this many unread bytes; a longer request gets a thread earlier
_LENGTH = re.compile(rb"\r\nContent-Length:[ \t]*([0-9]{1,6})[ \t]*\r\n", re.IGNORECASE)
_EXPECT = re.compile(rb"\r\nExpect:", re.IGNORECASE)  # the sender waits for an answer before it sends the body


def missing(received: bytes) -> int:
    """At least this many bytes are still to come; 0 when it is complete, or when only a thread can decide."""
    end = received.find(b"\r\n\r\n")
    if end < 0:
        return 1 if len(received) < MAX_BUFFERED else 0
    length = _LENGTH.search(received, 0, end + 2)
    if length is None or _EXPECT.search(received, 0, end + 2):
        return 0
    whole = end + 4 + int(length.group(1))
    return max(0, whole - len(received)) if whole <= MAX_BUFFERED else 0
