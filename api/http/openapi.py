"""Completes the generated description: security, problems, and what the views do not repeat."""

import re
from collections.abc import Iterator
from typing import Any

from apiflask import APIFlask
from pydantic import BaseModel

from api.http.auth import is_open
from api.http.errors import MIME_TYPE
from api.http.problem import Problem
from api.http.validation import REFS

Operation = dict[str, Any]

_SCHEME = "key"
_SECURITY = {_SCHEME: {"type": "apiKey", "in": "header", "name": "X-API-Key"}}
_SERVICE = {"type": "string", "pattern": "^[a-z0-9][a-z0-9-]{0,62}$"}
_PATH_ARGUMENTS = {"service": _SERVICE}
_RETRY_AFTER = {"Retry-After": {"description": "seconds to wait", "schema": {"type": "integer", "minimum": 1}}}


def register(app: APIFlask) -> None:
    app.config.update(
        AUTO_404_RESPONSE=False,
        AUTO_AUTH_ERROR_RESPONSE=False,
        AUTO_OPERATION_ID=True,
        AUTO_VALIDATION_ERROR_RESPONSE=False,
        DESCRIPTION="Bybit's events for a whole trading system: subscribe here, read your RabbitMQ queue.",
        OPENAPI_VERSION="3.1.0",
        SECURITY_SCHEMES=_SECURITY,
        SERVERS=[{"url": "/"}],
    )
    app.spec_processor(lambda spec: _completed(app, spec))


def _completed(app: APIFlask, spec: dict[str, Any]) -> dict[str, Any]:
    schemas = {name.rpartition(".")[2]: schema for name, schema in spec["components"].get("schemas", {}).items()}
    problem = Problem.model_json_schema(ref_template=REFS)
    schemas |= problem.pop("$defs") | {"Problem": problem}
    for schema in schemas.values():
        for field in schema.get("properties", {}).values():
            _drop_null_default(field)
    spec["components"]["schemas"] = dict(sorted(schemas.items()))
    closed = set(_closed(app))
    for path, operations in spec["paths"].items():
        for method, operation in operations.items():
            _complete(operation, closed=(path, method) in closed)
    return spec


def alternative(model: type[BaseModel], description: str, *, or_problem: bool = False) -> dict[str, Any]:
    """A further response with this model, for the description of a call; or a problem with the same status."""
    content = {"application/json": {"schema": {"$ref": REFS.format(model=model.__name__)}}}
    if or_problem:
        content[MIME_TYPE] = {"schema": {"$ref": REFS.format(model="Problem")}}
    return {"description": description, "content": content}


def _drop_null_default(schema: dict[str, Any]) -> None:
    """It means nothing, and generated clients take it for a field that has to be sent."""
    if schema.get("default", ...) is None:
        del schema["default"]


def _closed(app: APIFlask) -> Iterator[tuple[str, str]]:
    """The calls that need a key."""
    for rule in app.url_map.iter_rules():
        path = re.sub(r"<(?:[^<:]+:)?([^>]+)>", r"{\1}", rule.rule)
        if not is_open(app, rule.endpoint):
            yield from ((path, method.lower()) for method in rule.methods or ())


def _complete(operation: Operation, *, closed: bool) -> None:
    for parameter in operation["parameters"]:
        if parameter["in"] == "path" and parameter["name"] in _PATH_ARGUMENTS:
            parameter["schema"] = _PATH_ARGUMENTS[parameter["name"]]
        _drop_null_default(parameter["schema"])
        if "description" in parameter["schema"]:
            parameter["description"] = parameter["schema"].pop("description")
    if closed:
        operation["security"] = [{_SCHEME: []}]
    if "requestBody" in operation:
        operation["requestBody"]["required"] = True
    responses = operation["responses"]
    for status, response in responses.items():
        if status >= "400" and "application/json" not in response.get("content", {}):
            responses[status] = _problem(int(status), response["description"])
    for code, description in _errors(operation, closed=closed):
        responses.setdefault(str(code), _problem(code, description))


def _errors(operation: Operation, *, closed: bool) -> Iterator[tuple[int, str]]:
    if "requestBody" in operation:
        yield 400, "The body is not well-formed JSON"
        yield 413, "The body is longer than 64 KiB"
        yield 415, "The body is not application/json in UTF-8"
    named = {(parameter["in"], parameter["name"]) for parameter in operation["parameters"]}
    if "requestBody" in operation or "query" in {place for place, _ in named} or ("path", "service") in named:
        yield 422, "Validation failed; every invalid field is listed"
    if "path" in {place for place, _ in named}:
        yield 404, "Not found, or it belongs to another service"
    if closed:
        yield 401, "The key is missing, unknown, revoked or expired"
        yield 403, "This key is not allowed to do that"
        yield 503, "The database is unavailable"
    yield 429, "Too many requests"


def _problem(status: int, description: str) -> dict[str, Any]:
    shape = {"schema": {"$ref": "#/components/schemas/Problem"}}
    found: dict[str, Any] = {"description": description, "content": {MIME_TYPE: shape}}
    return found | ({"headers": _RETRY_AFTER} if status in (429, 503) else {})
