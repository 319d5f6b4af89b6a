"""How much of a request must have arrived before it is given a thread."""

import pytest

from api.http.request_head import MAX_BUFFERED, missing

GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: x\r\ncontent-length: 10\r\n\r\n"


@pytest.mark.parametrize(
    ("received", "expected"),
    [
        (b"", 1),
        (b"G", 1),
        (GET[:-1], 1),
        (GET, 0),
        (GET + b"GET", 0),  # the next request does not count
        (POST, 10),
        (POST + b"{}", 8),
        (POST + b"0123456789", 0),
        (POST.replace(b"10", b" 10 "), 10),
        (POST.replace(b"10", b"0"), 0),
        (POST.replace(b"10", b"-1"), 0),  # a thread rejects it
        (POST.replace(b"10", b"99999999"), 0),
        (POST.replace(b"10", b"40000"), 0),
        (POST.replace(b"Host: x", b"Expect: 100-continue"), 0),
        (POST.replace(b"content-length: 10", b"Transfer-Encoding: chunked"), 0),
        (GET[:-4] + b"\r\nX: " + b"x" * MAX_BUFFERED, 0),
        (b"GET / HTTP/1.1\nHost: x\n\n", 1),
        (GET + b"\r\nContent-Length: 9\r\n", 0),  # in the body, not in the head
    ],
)
def test_a_thread_can_begin_when_all_of_a_short_request_is_there(received: bytes, expected: int):
    assert missing(received) == expected
