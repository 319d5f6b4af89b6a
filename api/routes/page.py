"""The one page for people: what the gateway does right now."""

from pathlib import Path

from apiflask import APIBlueprint
from flask import Response, send_from_directory

from api.http.auth import open_without_a_key

_FILES = Path(__file__).parent.parent / "page"
_OURS_ALONE = {
    "Content-Security-Policy": "default-src 'self'; frame-ancestors 'none'; form-action 'self'; base-uri 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}


def routes() -> APIBlueprint:
    blueprint = APIBlueprint("page", __name__, enable_openapi=False)

    @blueprint.get("/")
    @open_without_a_key
    def shown() -> Response:
        return _file("index.html")

    @blueprint.get("/page/<name>")
    @open_without_a_key
    def asset(name: str) -> Response:
        return _file(name)

    return blueprint


def _file(name: str) -> Response:
    response = send_from_directory(_FILES, name)
    response.headers.update(_OURS_ALONE)
    return response
