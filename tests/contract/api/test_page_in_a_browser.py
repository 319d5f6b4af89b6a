"""The page for people in a real browser, when the API behind it no longer answers."""

import json
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from pathlib import Path
from threading import Thread

import pytest

PAGE = Path(__file__).parents[3] / "api" / "page"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
HEALTHY = {
    "status": "healthy",
    "active_subscriptions": 2,
    "components": {"ingestor": {"state": "up", "since": None, "reason": None}},
}

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")

Answer = Callable[[BaseHTTPRequestHandler], None]


def answered(request: BaseHTTPRequestHandler, body: bytes, status: int = 200, kind: str = "application/json") -> None:
    request.send_response(status)
    request.send_header("Content-Type", kind)
    request.end_headers()
    request.wfile.write(body)


def healthy(request: BaseHTTPRequestHandler) -> None:
    answered(request, json.dumps(HEALTHY).encode())


def hangs_up(request: BaseHTTPRequestHandler) -> None:
    request.connection.close()


def proxy_error(request: BaseHTTPRequestHandler) -> None:
    answered(request, b"<h1>502 Bad Gateway</h1>", 502, "text/html")


@contextmanager
def served(answers: int, then: Answer) -> Iterator[str]:
    """The page, and a `/health` that is healthy for this number of answers."""
    requests = count()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path == "/health":
                (healthy if next(requests) < answers else then)(self)
            elif self.path == "/":
                answered(self, (PAGE / "index.html").read_bytes(), kind="text/html")
            elif self.path.startswith("/page/"):
                kind = "text/css" if self.path.endswith("css") else "text/javascript"
                answered(self, (PAGE / self.path.removeprefix("/page/")).read_bytes(), kind=kind)
            else:
                answered(self, b"", 404)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/"
        server.shutdown()


def drawn_after(url: str, milliseconds: int, folder: Path) -> str:
    """The page after this much of its own time, which passes quicker than ours."""
    command = [
        str(CHROMIUM),
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        f"--user-data-dir={folder}",
        f"--virtual-time-budget={milliseconds}",
        "--dump-dom",
        url,
    ]
    return subprocess.run(command, capture_output=True, text=True, timeout=100, check=True).stdout


def test_a_page_whose_api_answers_is_green(tmp_path: Path):
    with served(answers=1000, then=healthy) as url:
        page = drawn_after(url, 5_000, tmp_path)
    assert '<span id="status" class="badge healthy">healthy, 2 subscriptions</span>' in page
    assert 'class="outdated"' not in page


@pytest.mark.parametrize("then", [hangs_up, proxy_error])
def test_a_page_whose_api_no_longer_answers_says_how_old_it_is_and_greys_out(tmp_path: Path, then: Answer):
    with served(answers=1, then=then) as url:
        page = drawn_after(url, 9_000, tmp_path)
    assert re.search(r'<span id="status" class="badge down">no answer, data is \d s old</span>', page)
    assert '<body class="outdated">' in page
    assert "ingestor" in page


def test_a_page_that_never_got_an_answer_says_no_more(tmp_path: Path):
    with served(answers=0, then=hangs_up) as url:
        page = drawn_after(url, 3_000, tmp_path)
    assert '<span id="status" class="badge down">no answer</span>' in page
