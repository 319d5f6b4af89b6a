"""Requests checked against a schema, faults named field by field; answers read by one."""

# mypy: allow-subclassing-any

from typing import Any, TypeVar

from apiflask.schema_adapters import registry
from apiflask.schema_adapters.pydantic import PydanticAdapter
from flask import Request
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from api.http import json_answer, json_body
from api.http.errors import unprocessable
from common.channels import Fault

M = TypeVar("M", bound=BaseModel)

_CODES = {"missing": "missing_field", "extra_forbidden": "unknown_field", "literal_error": "bad_value"}
_TOO_FAR = ("less_than", "less_than_equal", "greater_than", "greater_than_equal")
_TOO_LONG = ("string_too_long", "string_too_short", "too_long", "too_short")
REFS = "#/components/schemas/{model}"


def checked(model: type[M], value: Any) -> M:
    """The value as this model; raises ApiError naming all fields at fault."""
    try:
        return model.model_validate(value)
    except ValidationError as error:
        raise unprocessable(faults_of(error)) from error


def faults_of(error: ValidationError) -> list[Fault]:
    return [_fault(each) for each in error.errors(include_url=False, include_context=False, include_input=False)]


def _fault(each: ErrorDetails) -> Fault:
    field = ".".join(str(part) for part in each["loc"]) or "body"
    return Fault(field, _code(each["type"]), each["msg"])


def _code(kind: str) -> str:
    if kind in _CODES:
        return _CODES[kind]
    if kind in _TOO_FAR:
        return "out_of_range"
    if kind in _TOO_LONG:
        return "bad_length"
    return "wrong_type" if kind.endswith(("_type", "_parsing")) else "bad_value"


class _Adapter(PydanticAdapter):
    """Reads bodies and queries strictly, and an answer from the attributes of a view's value."""

    def validate_input(self, request: Request, location: str, **_kwargs: Any) -> Any:
        if location == "json":
            body = json_body.read(request)
            read = getattr(self.model_class, "read", None)  # of a model that checks more than the form of its fields
            return read(body) if read else checked(self.model_class, body)
        if location == "headers":
            given = ((name, request.headers.get(name)) for name in self.model_class.model_fields)
            return self.model_class.model_validate({name: value for name, value in given if value is not None})
        return checked(self.model_class, _query(request))

    def serialize_output(self, data: Any, many: bool = False) -> bytes:  # noqa: ARG002
        """The JSON of a view's value."""
        return json_answer.written(self.model_class, data)

    def get_openapi_schema(self, **_kwargs: Any) -> dict[str, Any]:
        found: dict[str, Any] = self.model_class.model_json_schema(ref_template=REFS)
        return found


def _query(request: Request) -> dict[str, str]:
    """Each parameter once, as text that the database can store."""
    given = request.args.to_dict(flat=False)
    faults = [Fault(name, "repeated", "must be given only once") for name, values in given.items() if len(values) > 1]
    faults += [
        Fault(name, "bad_value", "must be valid UTF-8 without NUL")
        for name, values in given.items()
        if any("\0" in value or "\ufffd" in value for value in (name, *values))
    ]
    if faults:
        raise unprocessable(faults)
    return {name: values[0] for name, values in given.items()}


registry.register("pydantic", _Adapter)
