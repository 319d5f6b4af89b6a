"""How an error is described to a caller (RFC 9457)."""

from pydantic import BaseModel


class FieldAtFault(BaseModel):
    field: str
    code: str
    message: str


class Problem(BaseModel):
    """RFC 9457; `code` is stable, one for each cause."""

    type: str
    title: str
    status: int
    code: str
    detail: str
    trace_id: str | None
    errors: list[FieldAtFault] | None = None
