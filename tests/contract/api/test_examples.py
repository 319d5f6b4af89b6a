"""Every example of docs/api.md, run as it stands and in its order."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from tests.contract.api.conftest import ADMINISTRATOR_KEY, PATH, Ingestor, body

DOCS = Path(__file__).parents[3] / "docs"
PAGE = (DOCS / "api.md").read_text()
_BLOCK = re.compile(r"```http\n(.*?)```", re.DOTALL)


@dataclass(frozen=True)
class Message:
    first: str
    headers: dict[str, str]
    body: str


def message(block: str) -> Message:
    head, _, text = block.partition("\n\n")
    first, *headers = head.strip().splitlines()
    return Message(first, dict(line.split(": ", 1) for line in headers), text.strip())


def examples() -> Iterator[tuple[Message, Message]]:
    blocks = [message(block) for block in _BLOCK.findall(PAGE)]
    assert len(blocks) % 2 == 0
    yield from zip(blocks[::2], blocks[1::2], strict=True)


@pytest.fixture
def placeholders(client: FlaskClient, ingestor: Ingestor) -> dict[str, str]:
    """What the page presumes: one live subscription without a consumer; the ingestor has not applied the others yet."""
    ingestor.lists("linear", "BTCUSDT", "ETHUSDT")
    ingestor.leads(generation=1, age_s=-3600)  # heard of for as long as this test takes
    ingestor.delivers()
    ingestor.connected("linear", age_s=-3600)
    subscription = {"channel_type": "ticker", "symbol": "BTCUSDT", "requesting_service": "dashboard"}
    live = body(client.post(PATH, json=subscription))["id"]
    ingestor.holds("tickers.BTCUSDT")
    ingestor.holds("kline.1.ETHUSDT", "rejected", "error:handler not found")
    ingestor.execute("UPDATE topics SET updated_at = now() + interval '1 hour'")
    never = "acked_at = NULL, last_event_at = NULL, events = 0, channel_type = 'kline'"
    ingestor.execute(f"UPDATE topics SET {never} WHERE state = 'rejected'")
    ingestor.sees_queue("ws-gateway.ticker.dashboard", "ticker", "dashboard", consumers=0, age_s=-3600)
    return {"$ADMINISTRATOR": ADMINISTRATOR_KEY, "$LIVE": live}


def test_the_examples_are_true(impatient_client: FlaskClient, placeholders: dict[str, str]):
    client = impatient_client
    del client.environ_base["HTTP_X_API_KEY"]
    for request, expected in examples():
        answer = ask(client, request, placeholders)
        assert str(answer.status_code) == expected.first, (request.first, answer.text)
        for name, value in expected.headers.items():
            assert matches(answer.headers[name], value), (request.first, name)
        assert matches(answer.json, json.loads(expected.body)), f"{request.first}\n{json.dumps(answer.json, indent=1)}"
        if request.first == "POST /api/v1/keys":
            placeholders["$KEY"] = answer.json["id"] if answer.json else ""
        if request.first == "POST /api/v1/balances/sync":
            placeholders["$SYNC"] = answer.json["id"] if answer.json else ""


def ask(client: FlaskClient, request: Message, placeholders: dict[str, str]) -> TestResponse:
    def filled(text: str) -> str:
        return re.sub(r"\$[A-Z]+", lambda found: placeholders[found.group()], text)

    method, path = request.first.split(" ")
    headers = {name: filled(value) for name, value in request.headers.items()}
    if request.body:
        headers["Content-Type"] = "application/json"
    return client.open(filled(path), method=method, headers=headers, data=request.body or None)


def matches(found: Any, expected: Any) -> bool:
    """Equal, but for `…`, which stands for something that is there."""
    if isinstance(expected, dict):
        return (
            isinstance(found, dict)
            and found.keys() == expected.keys()
            and all(matches(found[k], expected[k]) for k in expected)
        )
    if isinstance(expected, list):
        return isinstance(found, list) and len(found) == len(expected) and all(map(matches, found, expected))
    if isinstance(expected, str) and "…" in expected:
        return (
            found is not None and re.fullmatch(".+".join(map(re.escape, expected.split("…"))), str(found)) is not None
        )
    return bool(found == expected)


def test_every_call_has_an_example():
    spec = json.loads((DOCS / "openapi.json").read_text())
    shown = {
        (request.first.split(" ")[0].lower(), request.first.split(" ")[1].split("?")[0]) for request, _ in examples()
    }
    for path, operations in spec["paths"].items():
        form = re.compile(re.sub(r"\{[^}]+\}", "[^/]+", path))
        for method in operations:
            assert any(each == method and form.fullmatch(place) for each, place in shown), (method, path)


def test_every_code_that_is_raised_is_explained():
    files = [path for folder in ("api", "common") for path in (DOCS.parent / folder).rglob("*.py")]
    source = "\n".join(path.read_text() for path in files)
    raised = set(re.findall(r'ApiError\(\s*\d+, "(\w+)"', source)) | set(re.findall(r'Fault\([^"\n]+"(\w+)",', source))
    raised |= set(re.findall(r'_refuse\(\s*"\w+", "(\w+)"', source)) | set(re.findall(r'Fault\("\w+", "(\w+)"', source))
    assert len(raised) > 20
    assert sorted(raised - set(re.findall(r"\w+", PAGE))) == []
