"""Request files from the field, with what is said about each; skipped where they are not at hand."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from gemini_batch import validate
from gemini_batch.validation import repairs
from gemini_batch.validation.validate import Checked, check_line

if TYPE_CHECKING:
    from gemini_batch.errors import Problem

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
        ("official-no-key.jsonl", ["key", "key"], repairs.NUMBER),
        ("bare-request.jsonl", ["contents"], repairs.WRAP),
        ("rest-body.jsonl", [None], repairs.UNPACK),
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
    assert fix.partition(" FILE")[0] in (errors[0].next or "")
    assert "FILE" not in (errors[0].next or "")


ASK = {"contents": [{"parts": [{"text": "größe $HOME `x` \u2028"}]}]}
BODY = {"requests": {"requests": [{"request": ASK, "metadata": {"key": "a"}}, {"request": ASK}]}}


@pytest.mark.parametrize(
    ("command", "rows", "keys"),
    [
        (repairs.NUMBER, [{"request": ASK}, {"request": ASK}], ["row-1", "row-2"]),
        (repairs.WRAP, [ASK, {"key": "mine", **ASK}], ["row-1", "mine"]),
        (repairs.UNPACK, [{"batch": {"display_name": "x", "input_config": BODY}}], ["a", "row-1-2"]),
        (repairs.UNPACK, [{"inputConfig": BODY}], ["a", "row-1-2"]),
    ],
)
def test_the_commands_make_request_lines(
    tmp_path: Path, command: str, rows: list[dict[str, object]], keys: list[str]
) -> None:
    """As a shell runs them, whatever is in the text; each form is recognised before."""
    for row in rows:
        found = check_line(json.dumps(row).encode(), 1)
        assert isinstance(found, tuple)
        assert [command in (one.next or "") for one in found] == [True]
    (tmp_path / "FILE").write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")
    script = command.replace("python -c", f"'{sys.executable}' -c", 1)
    subprocess.run(["/bin/sh", "-c", script], cwd=tmp_path, check=True)
    lines = (tmp_path / "NEW").read_bytes().splitlines()
    assert [json.loads(one)["key"] for one in lines] == keys
    for one in lines:
        assert isinstance(check_line(one, 1), Checked)
        assert json.loads(one)["request"] == ASK


def test_the_command_is_for_this_file_and_overwrites_none(tmp_path: Path) -> None:
    """It names the file and a new one."""
    file = tmp_path / "my requests.jsonl"
    file.write_text('{"request": {"contents": [{"parts": [{"text": "Hi"}]}]}}\n')
    (found,) = validate(file).problems
    assert f"'{file}' > '{tmp_path}/my requests-2.jsonl'`" in (found.next or "")


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
