"""The page for people, and the description in a browser: all of it comes from here."""

import re

import pytest
from flask.testing import FlaskClient


@pytest.mark.parametrize("page", ["/", "/docs"])
def test_a_page_loads_nothing_from_elsewhere(client: FlaskClient, page: str):
    del client.environ_base["HTTP_X_API_KEY"]
    shown = client.get(page)
    assert shown.status_code == 200
    assert shown.headers["Content-Security-Policy"].startswith("default-src 'self'")
    parts = re.findall(r'(?:src|href)="([^"]+)"', shown.text)
    assert len(parts) > 3
    for part in parts:
        assert part.startswith("/"), part
        assert client.get(part).status_code in (200, 503), part


def test_the_description_is_drawn_as_it_is(client: FlaskClient):
    assert client.get("/openapi.json").json["openapi"] == "3.1.0"  # type: ignore[index]
    assert 'url: "/openapi.json"' in client.get("/docs/start.js").text
    assert int(client.get("/docs/VERSION").text.lstrip("v").split(".")[0]) >= 5  # the first that draws 3.1


@pytest.mark.parametrize("path", ["/page/nothing", "/page/..%2fapp.py", "/docs/..%2f__init__.py", "/docs/nothing.js"])
def test_nothing_else_is_served(client: FlaskClient, path: str):
    assert client.get(path).status_code == 404
