"""Request files from the field, with what is said about each; skipped where they are not at hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from gemini_batch import validate

if TYPE_CHECKING:
    from gemini_batch.errors import Problem

FIX = "gemini-batch validate"
CASES = Path(__file__).parents[3] / "shared" / "cases"


def problems(name: str) -> tuple[list[Problem], list[Problem]]:
    """The errors and the warnings about a file."""
    if not CASES.exists():
        pytest.skip("the request files are not at hand")
    found = validate(CASES / name).problems
    return [one for one in found if one.severity == "error"], [one for one in found if one.severity == "warning"]


@pytest.mark.parametrize("name", ["official-json-ending.json", "uploaded-offline.jsonl"])
def test_what_the_service_takes(name: str) -> None:
    """JSON lines in a file named `.json`; the address of an uploaded file."""
    assert problems(name) == ([], [])


def test_each_address_that_the_service_cannot_read() -> None:
    """One error for each line, at the address."""
    errors, _ = problems("local-uri.jsonl")
    assert [(one.line, one.field) for one in errors] == [
        (number, "request.contents[0].parts[0].fileData.fileUri") for number in range(1, 6)
    ]


@pytest.mark.parametrize(
    ("name", "fields", "fix"),
    [
        ("official-no-key.jsonl", ["key", "key"], FIX),
        ("bare-request.jsonl", ["contents"], FIX),
        ("rest-body.jsonl", [None], FIX),
        (
            "schema-defs.jsonl",
            [
                "request.generationConfig.responseSchema.$defs",
                "request.generationConfig.responseSchema.properties.m.$ref",
            ],
            "responseJsonSchema",
        ),
        (
            "tool-parameters.jsonl",
            ["request.tools[0].functionDeclarations[0].parameters.additionalProperties"],
            "parametersJsonSchema",
        ),
        (
            "swallowed-warning.jsonl",
            ["request.generationConfig.aspectRatio", "request.generationConfig.numberOfImages"],
            "imageConfig.aspectRatio",
        ),
    ],
)
def test_each_finding_has_its_cure(name: str, fields: list[str | None], fix: str) -> None:
    """The fields that are wrong, and what to do about the first."""
    errors, _ = problems(name)
    assert [one.field for one in errors] == fields
    assert fix in (errors[0].next or "")
    assert "FILE" not in (errors[0].next or "")


@pytest.mark.parametrize(
    ("name", "keys", "left"),
    [
        ("bare-request.jsonl", ["row-1"], []),
        ("local-uri.jsonl", ["relative", "bare", "s3", "drive", "data-url"], [1, 2, 3, 4]),
        ("official-json-ending.json", ["request_1"], []),
        ("official-no-key.jsonl", ["row-1", "row-2"], []),
        ("rest-body.jsonl", ["a"], []),
        ("schema-defs.jsonl", ["a"], []),
        ("swallowed-warning.jsonl", ["a"], [1]),
        ("tool-parameters.jsonl", ["a"], []),
        ("uploaded-offline.jsonl", ["a"], []),
    ],
)
def test_each_file_is_fixed(tmp_path: Path, name: str, keys: list[str], left: list[int]) -> None:
    """Its copy can be sent, or has only what nobody but the user can know."""
    if not CASES.exists():
        pytest.skip("the request files are not at hand")
    found = validate(CASES / name, fix=tmp_path / "fixed.jsonl")
    lines = (tmp_path / "fixed.jsonl").read_bytes().splitlines()
    assert [json.loads(one)["key"] for one in lines] == keys
    assert [one.line for one in found.problems] == left
    assert found.valid == (not left)


def test_the_command_is_for_this_file_and_overwrites_none(tmp_path: Path) -> None:
    """It names the file and a new one."""
    file = tmp_path / "my requests.jsonl"
    file.write_text('{"request": {"contents": [{"parts": [{"text": "Hi"}]}]}}\n')
    (found,) = validate(file).problems
    assert f"{FIX} '{file}' --fix -o '{tmp_path}/my requests-2.jsonl'`" in (found.next or "")


def test_json_lines_in_a_file_named_json(tmp_path: Path) -> None:
    """Only what is one JSON document is refused, not a name."""
    file = tmp_path / "requests.json"
    file.write_text('{"key": "a", "request": {"contents": [{"parts": [{"text": "Hi"}]}]}}\n')
    assert validate(file).valid


def test_warnings_come_with_errors(tmp_path: Path) -> None:
    """Of the same line and of others; the counts say how many."""
    row = {"key": "a", "request": {"contents": [{"parts": [{"text": ""}]}], "generationConfig": {"topPP": 1}}}
    other = {"key": "b", "note": 1, "request": {"contents": [{"parts": [{"text": "x"}]}]}}
    file = tmp_path / "requests.jsonl"
    file.write_text(f"{json.dumps(row)}\n{json.dumps(other)}\n")
    found = validate(file)
    assert [(one.line, one.severity) for one in found.problems] == [(1, "error"), (1, "warning"), (2, "warning")]
    assert (found.errors, found.warnings) == (1, 2)
