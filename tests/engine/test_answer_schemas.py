"""Runs whose requests have a schema: every answer is compared with it, and each distinct schema is kept once."""

from __future__ import annotations

import dataclasses
import json
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from engine.clock import Clock
from engine.fake import FakeService
from engine.steps import again, held, reasons, work
from gemini_batch.intake.staging import stage
from gemini_batch.store.ledger.run_options import RunOptions
from gemini_batch.store.state_folder import RunFolder

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from gemini_batch.report.result_set import Results

ONE = RunOptions(attempts=1)
SERVICE_FORM = {
    "type": "OBJECT",
    "properties": {"topics": {"type": "ARRAY", "items": {"type": "STRING"}}},
    "required": ["topics"],
}
JSON_FORM = {
    "type": "object",
    "properties": {"topics": {"type": "array", "items": {"type": "string"}}},
    "required": ["topics"],
}
JSON = {"responseMimeType": "application/json"}
GOOD, BAD = '{"topics": ["a"]}', '{"topics": ["a", 5]}'

CONFIGS = {
    "responseSchema": {**JSON, "responseSchema": SERVICE_FORM},
    "response_schema": {"response_mime_type": "application/json", "response_schema": SERVICE_FORM},
    "small letters": {**JSON, "responseSchema": JSON_FORM},
    "responseJsonSchema": {**JSON, "responseJsonSchema": JSON_FORM},
    "response_json_schema": {"response_mime_type": "application/json", "response_json_schema": JSON_FORM},
    "capitals": {**JSON, "responseJsonSchema": SERVICE_FORM},
    "responseFormat": {"responseFormat": {"text": {"mimeType": "APPLICATION_JSON", "schema": JSON_FORM}}},
}


def write(folder: Path, configs: Mapping[str, Any], *, spelling: str = "generationConfig") -> Path:
    lines = [
        {"key": key, "request": {"contents": [{"parts": [{"text": f"ask {key}"}]}], spelling: config}}
        for key, config in configs.items()
    ]
    (folder / "in.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder / "in.jsonl"


def answer(key: str, text: str) -> bytes:
    candidate = {"content": {"parts": [{"text": text}], "role": "model"}, "finishReason": "STOP"}
    return json.dumps({"key": key, "response": {"candidates": [candidate]}}).encode()


@pytest.fixture
def service() -> FakeService:
    return FakeService(Clock(), chunk=10_000)


def answered(service: FakeService, folder: Path, texts: Mapping[str, str], **more: Any) -> Results:
    service.answer_at = lambda key, _: answer(key, texts[key])
    return work(service, folder, options=ONE, **more)


def rows_of(folder: Path, query: str) -> list[tuple[Any, ...]]:
    (path,) = folder.glob("home/runs/*/rows.db")
    with closing(sqlite3.connect(path)) as db:
        return db.execute(query).fetchall()


@pytest.mark.parametrize("form", CONFIGS)
@pytest.mark.parametrize("spelling", ["generationConfig", "generation_config"])
def test_answers_are_compared_with_the_schema_of_the_request(
    service: FakeService, tmp_path: Path, form: str, spelling: str
) -> None:
    write(tmp_path, dict.fromkeys("abc", CONFIGS[form]), spelling=spelling)

    found = answered(service, tmp_path, {"a": GOOD, "b": BAD, "c": "[]"})

    rows = {row["key"]: row for row in found}
    assert [row["verdict"] for row in rows.values()] == ["succeeded", "invalid", "invalid"]
    assert rows["a"]["response"]["parsed"] == {"topics": ["a"]}
    assert "parsed" not in rows["b"]["response"]
    assert rows["b"]["response"]["text"] == BAD
    assert rows["b"]["error"] == {"code": None, "reason": "SCHEMA", "message": 'topics[1]: 5 is not of type "string"'}
    assert rows["c"]["error"]["message"] == '[] is not of type "object"'


def test_a_word_of_an_enum_is_compared_too(service: FakeService, tmp_path: Path) -> None:
    config = {"responseMimeType": "text/x.enum", "responseSchema": {"type": "STRING", "enum": ["yes", "no"]}}
    write(tmp_path, dict.fromkeys("ab", config))

    found = answered(service, tmp_path, {"a": "yes", "b": "perhaps"})

    assert reasons(found) == {"b": "SCHEMA"}
    assert all("parsed" not in row["response"] for row in found)


def test_without_a_schema_answers_are_judged_as_before(service: FakeService, tmp_path: Path) -> None:
    write(tmp_path, {"a": JSON, "b": {}, "c": {"responseMimeType": "text/plain"}})

    found = answered(service, tmp_path, dict.fromkeys("abc", "[1]"))

    assert [row["verdict"] for row in found] == ["succeeded"] * 3
    assert [row["response"].get("parsed") for row in found] == [[1], None, None]
    assert rows_of(tmp_path, "SELECT count(*) FROM schemas") == [(0,)]


def test_the_summary_groups_by_what_is_wrong(service: FakeService, tmp_path: Path) -> None:
    write(tmp_path, dict.fromkeys("abcd", CONFIGS["responseSchema"]))

    found = answered(service, tmp_path, {"a": BAD, "b": '{"topics": [[]]}', "c": "{}", "d": GOOD})

    groups = [(one.reason, one.message, one.keys) for one in found.summary.failures]
    assert groups == [
        ("SCHEMA", 'topics[]: the value is not of type "string"', ["a", "b"]),
        ("SCHEMA", '"topics" is a required property', ["c"]),
    ]
    lines = [json.loads(line) for line in (tmp_path / "failures.jsonl").read_text().splitlines()]
    assert [line["message"] for line in lines] == [groups[0][1], groups[0][1], groups[1][1]]


def test_a_row_is_resent_if_that_is_asked_for(service: FakeService, tmp_path: Path) -> None:
    write(tmp_path, dict.fromkeys("ab", CONFIGS["responseSchema"]))
    first = answered(service, tmp_path, {"a": BAD, "b": GOOD})
    assert reasons(first) == {"a": "SCHEMA"}

    service.answer_at = lambda key, _: answer(key, GOOD)
    found = again(service, tmp_path, first.summary.run, "invalid")

    assert [(row["verdict"], row["attempt"]) for row in found] == [("succeeded", 2), ("succeeded", 1)]
    assert [row["response"]["parsed"] for row in found] == [{"topics": ["a"]}] * 2
    only = held(service, tmp_path, str(service.jobs[0].name), job_only=True)
    assert [(row["key"], row["verdict"]) for row in only] == [("a", "invalid"), ("b", "succeeded")]
    assert next(iter(only))["error"]["message"] == 'topics[1]: 5 is not of type "string"'


def test_each_schema_is_kept_once(service: FakeService, tmp_path: Path) -> None:
    other = {**JSON, "responseJsonSchema": {"type": "array"}}
    write(tmp_path, {f"k{n}": CONFIGS["responseSchema"] if n % 2 else other for n in range(10)} | {"none": JSON})

    answered(service, tmp_path, {f"k{n}": GOOD if n % 2 else "[]" for n in range(10)} | {"none": "1"})

    assert rows_of(tmp_path, "SELECT count(*), count(DISTINCT hash) FROM schemas") == [(2, 2)]
    assert rows_of(tmp_path, "SELECT schema, count(*) FROM requests GROUP BY 1 ORDER BY 1") == [
        (None, 1),
        (1, 5),
        (2, 5),
    ]


def test_every_request_can_have_a_schema_of_its_own(service: FakeService, tmp_path: Path) -> None:
    """More than are kept in memory, in a mixed order, so that none is taken for another."""
    write(tmp_path, {f"k{n}": {**JSON, "responseJsonSchema": {"const": n}} for n in range(1500)})

    found = answered(service, tmp_path, {f"k{n}": str(n if n % 7 else n + 1) for n in range(1500)})

    assert rows_of(tmp_path, "SELECT count(*) FROM schemas") == [(1500,)]
    assert reasons(found) == {f"k{n}": "SCHEMA" for n in range(0, 1500, 7)}
    assert [row["error"]["message"] for row in found if "error" in row] == [
        f"{n} was expected" for n in range(0, 1500, 7)
    ]


def test_another_schema_can_take_the_place_of_that_in_the_requests(tmp_path: Path) -> None:
    write(tmp_path, {"a": CONFIGS["responseSchema"], "b": CONFIGS["responseJsonSchema"]})
    (tmp_path / "run-a").mkdir()
    folder = RunFolder(tmp_path / "run-a")

    stage(tmp_path / "in.jsonl", folder, max_bytes=10**9, answer_schema=b'{"type":"array"}')

    with folder.rows() as rows:
        assert [row.schema for row in rows.final()] == [b'{"type":"array"}'] * 2


@pytest.mark.parametrize(
    ("config", "field"),
    [
        ({**JSON, "responseSchema": {"type": "STRING", "pattern": "("}}, "responseSchema"),
        ({**JSON, "response_json_schema": {"type": "string", "pattern": "("}}, "response_json_schema"),
        ({"responseFormat": {"text": {"mimeType": "APPLICATION_JSON", "schema": {"pattern": "("}}}},
         "responseFormat.text.schema"),
    ],
)  # fmt: skip
def test_a_schema_that_cannot_be_used_is_said_and_stops_nothing(
    service: FakeService, tmp_path: Path, config: Any, field: str
) -> None:
    write(tmp_path, {"a": config, "b": config})
    (tmp_path / "run-a").mkdir()

    staged = stage(tmp_path / "in.jsonl", RunFolder(tmp_path / "run-a"), max_bytes=10**9)
    found = answered(service, tmp_path, {"a": '"("', "b": "no JSON"})

    assert [one.field for one in staged.warnings] == [f"request.generationConfig.{field}"] * 2
    assert 'Answers cannot be compared with this schema: pattern: "(" is not a "regex".' in staged.warnings[0].message
    assert [row["verdict"] for row in found] == ["succeeded", "invalid"]


def test_lines_of_the_service_stay_as_they_are(service: FakeService, tmp_path: Path) -> None:
    write(tmp_path, {"a": CONFIGS["responseSchema"]})
    first = answered(service, tmp_path, {"a": GOOD})
    assert list(dataclasses.replace(first, _raw=True)) == [json.loads(answer("a", GOOD))]
