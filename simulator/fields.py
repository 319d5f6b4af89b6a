"""Reads requests to the control interface; errors name the field."""

from collections.abc import Collection, Mapping
from typing import Any


class BadField(ValueError):
    def __init__(self, field: str, value: object, allowed: str) -> None:
        super().__init__(f"{field} is {value!r}; allowed is {allowed}")
        self.field = field
        self.value = value
        self.allowed = allowed


class Fields:
    """A JSON object, read field by field; unread fields are an error at the end."""

    def __init__(self, body: Any) -> None:
        if not isinstance(body, dict):
            raise BadField("body", body, "a JSON object")
        self._body: Mapping[str, Any] = body
        self._known: set[str] = set()

    def __contains__(self, name: str) -> bool:
        return name in self._body

    def text(self, name: str, default: str | None = None, among: Collection[str] = ()) -> str:
        value = self._value(name, default)
        if not isinstance(value, str) or (among and value not in among):
            raise BadField(name, value, f"one of {', '.join(among)}" if among else "a text")
        return value

    def whole(self, name: str, default: int | None, least: int, most: int) -> int:
        value = self._value(name, default)
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            raise BadField(name, value, f"a whole number from {least} to {most}")
        return value

    def number(self, name: str, default: float | None, least: float, most: float) -> float:
        value = self._value(name, default)
        if not isinstance(value, int | float) or isinstance(value, bool) or not least <= value <= most:
            raise BadField(name, value, f"a number from {least:g} to {most:g}")
        return float(value)

    def flag(self, name: str, default: bool) -> bool:
        value = self._value(name, default)
        if not isinstance(value, bool):
            raise BadField(name, value, "true or false")
        return value

    def anything(self, name: str) -> Any:
        return self._value(name, None)

    def rest(self) -> dict[str, Any]:
        """The fields that have not been read."""
        names = [name for name in self._body if name not in self._known]
        self._known.update(names)
        return {name: self._body[name] for name in names}

    def done(self) -> None:
        for name, value in self._body.items():
            if name not in self._known:
                raise BadField(name, value, f"only the fields {', '.join(sorted(self._known))}")

    def _value(self, name: str, default: Any) -> Any:
        self._known.add(name)
        return self._body.get(name, default)
