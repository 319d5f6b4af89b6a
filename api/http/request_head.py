"""How much of a request has to be there before it is given a thread."""

import re

MOST_AWAITED = 32_768  # of what a socket surely holds unread; a longer request gets a thread earlier
_LENGTH = re.compile(rb"\r\nContent-Length:[ \t]*([0-9]{1,6})[ \t]*\r\n", re.IGNORECASE)
_EXPECT = re.compile(rb"\r\nExpect:", re.IGNORECASE)  # who expects an answer first sends no body before it


def lacking(seen: bytes) -> int:
    """At least so many bytes are still to come; none where only a thread can tell."""
    end = seen.find(b"\r\n\r\n")
    if end < 0:
        return 1 if len(seen) < MOST_AWAITED else 0
    length = _LENGTH.search(seen, 0, end + 2)
    if length is None or _EXPECT.search(seen, 0, end + 2):
        return 0
    whole = end + 4 + int(length.group(1))
    return max(0, whole - len(seen)) if whole <= MOST_AWAITED else 0
