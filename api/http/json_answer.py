"""How a view's value becomes the body of its response: its schema writes the JSON."""

from typing import Any

from flask import Flask, Response
from flask.json.provider import DefaultJSONProvider
from pydantic import BaseModel


class JSONProvider(DefaultJSONProvider):
    """Writes models as they are: compact, in the order of their fields, times with Z."""

    def response(self, *args: Any, **kwargs: Any) -> Response:
        if len(args) == 1 and isinstance(args[0], BaseModel):
            return Response(written(args[0]), mimetype="application/json")
        plain: Response = super().response(*args, **kwargs)  # type: ignore[assignment]
        return plain


def written(answer: BaseModel) -> bytes:
    """Fields that the value has no attribute for, and that have a default, are left out."""
    return answer.__pydantic_serializer__.to_json(answer, exclude_unset=True)


def register(app: Flask) -> None:
    app.json = JSONProvider(app)
