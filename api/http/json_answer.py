"""How a view's value becomes the body of its response: its schema says what is written, and in which order."""

from collections.abc import Callable
from functools import cache
from operator import attrgetter
from typing import Any, get_args, get_origin

import orjson
from flask import Flask, Response
from flask.json.provider import DefaultJSONProvider
from pydantic import BaseModel

Columns = Callable[[Any], dict[str, Any]]


class JSONProvider(DefaultJSONProvider):
    """Passes on what `written` has written."""

    def response(self, *args: Any, **kwargs: Any) -> Response:
        if len(args) == 1 and isinstance(args[0], bytes):
            return Response(args[0], mimetype="application/json")
        plain: Response = super().response(*args, **kwargs)  # type: ignore[assignment]
        return plain


def register(app: Flask) -> None:
    app.json = JSONProvider(app)


def written(model: type[BaseModel], value: Any) -> bytes:
    """The fields of the model, read from the value's attributes: compact, times in UTC with Z.

    Flat models and lists of them are read directly, because lists are long; any other value is validated, and a field
    with a default that the value has no attribute for is left out.
    """
    if (columns := _flat(model)) is not None:
        return orjson.dumps(columns(value), option=orjson.OPT_UTC_Z)
    answer = model.model_validate(value)
    return answer.__pydantic_serializer__.to_json(answer, exclude_unset=True)


@cache
def _flat(model: type[BaseModel]) -> Columns | None:
    """Reads a value whose fields are plain or lists of flat models; None for a model that takes more than that."""
    lists: dict[str, Columns] = {}
    for name, field in model.model_fields.items():
        item = _listed(field.annotation)
        columns = _flat(item) if item else None
        if field.metadata or (columns is None and _contains_model(field.annotation)):
            return None
        if columns is not None:
            lists[name] = columns
    return _reader(tuple(model.model_fields), lists)


def _reader(names: tuple[str, ...], lists: dict[str, Columns]) -> Columns:
    read = attrgetter(*names, "__class__")  # always a tuple, even of a single field

    def columns(value: Any) -> dict[str, Any]:
        found = dict(zip(names, read(value), strict=False))
        for name, item in lists.items():
            found[name] = [item(each) for each in found[name]]
        return found

    return columns


def _listed(annotation: Any) -> type[BaseModel] | None:
    """M of `list[M]`."""
    items = get_args(annotation) if get_origin(annotation) is list else ()
    return items[0] if items and _is_model(items[0]) else None


def _contains_model(annotation: Any) -> bool:
    return _is_model(annotation) or any(_contains_model(each) for each in get_args(annotation))


def _is_model(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)
