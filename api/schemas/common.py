"""What the schemas share."""

import re
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictBool,
    StrictInt,
    StrictStr,
    ValidationError,
)

from api.http.validation import faults_of
from common import topology
from common.channels import Fault

MAX_LIMIT = 1000
_WHOLE = re.compile(r"-?[0-9]{1,20}")

ServiceName = Annotated[
    StrictStr,
    Field(
        description="name of the service; part of its queues' names",
        max_length=255,
        json_schema_extra={"pattern": "^[a-z0-9][a-z0-9-]{0,62}$"},
    ),
]
Flag = Annotated[StrictBool, BeforeValidator(lambda text: {"true": True, "false": False}.get(text, text))]
Whole = Annotated[StrictInt, BeforeValidator(lambda text: int(text) if _WHOLE.fullmatch(str(text)) else text)]
Rounded = Annotated[float | None, AfterValidator(lambda value: None if value is None else round(value, 3))]


class Strict(BaseModel):
    """A request; a field that the model does not have is an error."""

    model_config = ConfigDict(extra="forbid")


class Answer(BaseModel):
    """An answer: its fields are read from attributes and written in the order in which they are declared."""

    model_config = ConfigDict(from_attributes=True)


class Page(Strict):
    limit: Whole = Field(100, ge=1, le=MAX_LIMIT, description="page size")
    offset: Whole = Field(0, ge=0, le=10**9, description="offset")


def service_faults(name: str | None) -> list[Fault]:
    """What is wrong with the name of a service; None is not checked."""
    if name is None:
        return []
    if not topology.SERVICE_NAME.fullmatch(name):
        allowed = "must be 1 to 63 characters of a-z, 0-9 and '-', and must not start with '-'"
        return [Fault("requesting_service", "bad_service_name", f"{name!r} {allowed}")]
    if name == topology.PERSISTER:
        return [Fault("requesting_service", "reserved_service_name", f"{name!r} is reserved; choose another name")]
    return []


def form_faults(model: type[BaseModel], body: Any) -> list[Fault]:
    """What does not fit the model's form, its meaning aside."""
    try:
        model.model_validate(body)
    except ValidationError as error:
        return faults_of(error)
    return []
