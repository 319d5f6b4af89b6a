"""The committed description is the one that the code generates."""

import re
from pathlib import Path
from typing import Any

import orjson
import pytest

from api import describe
from api.http.errors import MIME_TYPE

COMMITTED = Path(__file__).parents[3] / "docs" / "openapi.json"


@pytest.fixture(scope="module")
def spec() -> dict[str, Any]:
    found: dict[str, Any] = orjson.loads(COMMITTED.read_bytes())
    return found


def operations(spec: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    return [(f"{method} {path}", each) for path, all_ in spec["paths"].items() for method, each in all_.items()]


def test_it_is_the_committed_one():
    assert COMMITTED.read_bytes() == describe.rendered(), "python -m api.describe > docs/openapi.json"


def test_it_is_openapi_3_1(spec: dict[str, Any]):
    assert spec["openapi"] == "3.1.0"
    assert spec["servers"] == [{"url": "/"}]


def test_every_reference_leads_somewhere(spec: dict[str, Any]):
    used = set(re.findall(r'"#/components/schemas/([^"]+)"', COMMITTED.read_text()))
    assert used <= set(spec["components"]["schemas"])


def test_every_call_has_a_name_a_summary_and_an_answer(spec: dict[str, Any]):
    names = [each["operationId"] for _, each in operations(spec)]
    assert len(names) == len(set(names))
    for label, each in operations(spec):
        assert each["summary"], label
        assert any(status < "300" for status in each["responses"]), label


def test_every_error_is_a_problem(spec: dict[str, Any]):
    for label, each in operations(spec):
        for status, response in each["responses"].items():
            if status >= "400" and "application/json" not in response["content"]:
                assert list(response["content"]) == [MIME_TYPE], (label, status)


def test_a_probe_that_reads_the_database_may_fail(spec: dict[str, Any]):
    assert list(spec["paths"]["/ready"]["get"]["responses"]["503"]["content"]) == ["application/json", MIME_TYPE]


def test_every_answer_has_a_schema(spec: dict[str, Any]):
    for label, each in operations(spec):
        for status, response in each["responses"].items():
            assert all("$ref" in content["schema"] for content in response["content"].values()), (label, status)


def test_an_optional_field_has_no_default_of_null(spec: dict[str, Any]):
    assert '"default": null' not in COMMITTED.read_text()
    assert spec["components"]["schemas"]["Ask"]["required"] == ["requesting_service"]


def test_a_comparison_may_be_unfinished_or_fail(spec: dict[str, Any]):
    for path, method in (("/api/v1/balances/sync", "post"), ("/api/v1/balances/sync/{sync_id}", "get")):
        responses = spec["paths"][path][method]["responses"]
        assert responses["202"]["content"]["application/json"]["schema"] == {"$ref": "#/components/schemas/Sync"}
        assert list(responses["502"]["content"]) == [MIME_TYPE]


def test_every_call_except_the_probes_requires_a_key(spec: dict[str, Any]):
    for label, each in operations(spec):
        closed = "/api/v1/" in label
        assert ("security" in each) == closed, label
        assert ("401" in each["responses"]) == closed, label
