"""How an error looks to a caller: application/problem+json (RFC 9457)."""

from collections.abc import Iterable, Mapping, Sequence
from http import HTTPStatus
from typing import Any

import orjson
import structlog
from flask import Flask, Response
from structlog.contextvars import get_contextvars
from werkzeug.exceptions import HTTPException

from common.channels import BadChannel, Fault
from common.errors import Unavailable

log = structlog.get_logger(__name__)

MIME_TYPE = "application/problem+json"
RETRY_AFTER_S = 2
_CODES = {404: "no_such_path", 405: "method_not_allowed", 413: "body_too_large", 415: "unsupported_media_type"}
_TITLES = {413: "Content Too Large", 414: "URI Too Long", 416: "Range Not Satisfiable", 422: "Unprocessable Content"}
"""RFC 9110's names, where those of Python depend on its version."""


class ApiError(Exception):
    """A request that is answered with a problem; `code` is stable, `detail` is for people."""

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        faults: Sequence[Fault] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code
        self.detail = detail
        self.faults = faults
        self.headers = headers or {}


def unprocessable(faults: Sequence[Fault]) -> ApiError:
    """All fields at fault at once; the code is theirs when they share one."""
    codes = {fault.code for fault in faults}
    detail = "; ".join(f"{fault.field}: {fault.message}" for fault in faults)
    return ApiError(422, codes.pop() if len(codes) == 1 else "several_faults", detail, faults)


def no_such(what: str, id: object) -> ApiError:
    return ApiError(404, f"no_such_{what}", f"{what} {id} does not exist or belongs to another service; check the id")


def register(app: Flask) -> None:
    """Every error, ours or the framework's, leaves as application/problem+json."""
    app.register_error_handler(ApiError, problem)
    app.register_error_handler(BadChannel, lambda error: problem(unprocessable(error.faults)))
    app.register_error_handler(Unavailable, _unavailable)
    app.register_error_handler(HTTPException, _from_framework)
    app.register_error_handler(Exception, _internal)


def title_of(status: int) -> str:
    return _TITLES.get(status) or HTTPStatus(status).phrase


def shape(status: int, code: str, detail: str) -> dict[str, Any]:
    """The members of a problem that every one has."""
    return {
        "type": f"urn:ws-gateway:problem:{code}",
        "title": title_of(status),
        "status": status,
        "code": code,
        "detail": detail,
        "trace_id": get_contextvars().get("trace_id"),
    }


def problem(error: ApiError) -> Response:
    members = shape(error.status, error.code, error.detail)
    if error.faults:
        members["errors"] = _listed(error.faults)
    response = Response(orjson.dumps(members), error.status, mimetype=MIME_TYPE)
    response.headers.update(error.headers)
    return response


def _listed(faults: Iterable[Fault]) -> list[dict[str, str]]:
    return [{"field": fault.field, "code": fault.code, "message": fault.message} for fault in faults]


def _unavailable(error: Unavailable) -> Response:
    log.warning("dependency unavailable", error=str(error))
    detail = "the database is unavailable; retrying is safe"
    return problem(ApiError(503, "unavailable", detail, headers={"Retry-After": str(RETRY_AFTER_S)}))


def _from_framework(error: HTTPException) -> Response:
    status = error.code or 500
    code = _CODES.get(status) or title_of(status).lower().replace(" ", "_")
    kept = {name: value for name, value in error.get_headers() if name in ("Allow", "Retry-After", "Location")}
    return problem(ApiError(status, code, error.description or title_of(status), headers=kept))


def _internal(_error: Exception) -> Response:
    log.exception("request failed")
    return problem(ApiError(500, "internal_error", "internal error; see the log for this trace_id"))
