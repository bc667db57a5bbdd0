"""Which files results and failures may replace: one answer for both, whatever a file holds."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from gemini_batch.errors import UsageError
from gemini_batch.report import output_files
from gemini_batch.report.output_files import failures_file
from gemini_batch.store.state_folder import StateFolder
from gemini_batch.tables.outputs.write import check_ending, format_of
from gemini_batch.tables.sources import source

RESULT = {"key": "a", "verdict": "succeeded", "response": {}, "attempt": 1}
FAILURE: dict[str, Any] = {
    "key": "a", "verdict": "failed", "reason": "INTERNAL", "code": 13, "message": "An error.", "line": {"key": "a"}
}  # fmt: skip
OLD_FAILURE = {name: value for name, value in FAILURE.items() if name not in {"code", "message"}}
MB = 1024 * 1024
#: What a file holds, and what it is then.
CONTENTS: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", "either"),
    "a verdict of another program": (b'{"key": "a", "verdict": "guilty", "attempt": 1}\n', "neither"),
    "a result with a column of the user's": (json.dumps({**RESULT, "mine": 1}).encode(), "neither"),
    "a result, then text": (json.dumps(RESULT).encode() + b"\nDear diary,\n", "neither"),
    "a failure, then a result": (json.dumps(FAILURE).encode() + b"\n" + json.dumps(RESULT).encode(), "neither"),
    "two results": ((json.dumps(RESULT).encode() + b"\n") * 2, "results"),
    "two failures": (json.dumps(FAILURE).encode() + b"\n" + json.dumps(OLD_FAILURE).encode(), "failures"),
    "a result": (json.dumps(RESULT).encode() + b"\n", "results"),
    "a result without an end": (json.dumps(RESULT).encode(), "results"),
    "a result of 20 MB": (json.dumps({**RESULT, "response": {"text": "x" * 20 * MB}}).encode() + b"\n", "results"),
    "an answer as the service wrote it": (b'{"key": "a", "response": {"candidates": []}}\n', "neither"),
    "an error as the service wrote it": (b'{"key": "a", "error": {"code": 3}}\n', "neither"),
    "an inline answer as the service wrote it": (b'{"response": {}, "metadata": {"key": "a"}}\n', "neither"),
    "requests with answers": (b'{"key": "a", "request": {}, "response": {"candidates": []}}\n', "neither"),
    "answers of another program": (b'{"key": "a", "response": "yes"}\n', "neither"),
    "a failure": (json.dumps(FAILURE).encode() + b"\n", "failures"),
    "a failure of 1.0.0": (json.dumps(OLD_FAILURE).encode() + b"\n", "failures"),
    "a failure with more fields": (json.dumps({**FAILURE, "note": "mine"}).encode() + b"\n", "neither"),
    "a failure of 20 MB": (json.dumps({**FAILURE, "line": {"key": "x" * 20 * MB}}).encode() + b"\n", "failures"),
    "a request": (b'{"key": "a", "request": {}}\n', "neither"),
    "text": (b"Dear diary,\n", "neither"),
    "no UTF-8": (b"\xff\xfe\n", "neither"),
    "deep JSON": (b"[" * 200_000 + b"\n", "neither"),
    "a number": (b"1\n", "neither"),
    "a blank line": (b"\n" + json.dumps(RESULT).encode(), "neither"),
}


def check_output(output: Path, *, failures: bool) -> None:
    """With a state folder that has written nothing."""
    output_files.check_output(StateFolder(output.parent / "home"), output, failures=failures)


def written_to(output: Path, kind: str) -> Path:
    failed = failures_file(output)
    assert failed is not None
    return output if kind == "results" else failed


@pytest.mark.parametrize("kind", ["results", "failures"])
@pytest.mark.parametrize("content", CONTENTS)
def test_only_its_own_kind_is_replaced(tmp_path: Path, content: str, kind: str) -> None:
    data, holds = CONTENTS[content]
    output = tmp_path / "results.jsonl"
    written_to(output, kind).write_bytes(data)

    if holds in {kind, "either"}:
        check_output(output, failures=True)
        return
    with pytest.raises(UsageError) as caught:
        check_output(output, failures=True)

    assert caught.value.reason_code == "bad_output"
    assert caught.value.field == "--output"
    assert caught.value.message == f"This file exists and holds something other than {kind}, which would be lost."
    assert caught.value.next == "Choose another name for the results, or move this file away."
    if kind == "failures":
        check_output(output, failures=False)


@pytest.mark.parametrize(
    ("name", "instead"),
    [
        ("a.xls", ".xlsx"),
        ("a.ODS", ".xlsx"),
        ("a.feather", ".parquet"),
        ("a.csv.gz", "Leave out .gz"),
        ("a.jsonl.zst", "Leave out .zst"),
        ("a.duckdb", ".db"),
        ("a.json", ".ndjson or .jsonl"),
        *((name, None) for name in ("a.jsonl", "a.txt", "a", "a.out", "a.csv", "a.pq", "a.tab", "a.sqlite3", "A.XLSX")),
    ],
)
def test_a_file_is_what_its_name_says(tmp_path: Path, name: str, instead: str | None) -> None:
    if instead is None:
        check_output(tmp_path / name, failures=True)
        return
    with pytest.raises(UsageError) as caught:
        check_output(tmp_path / name, failures=True)

    assert (caught.value.reason_code, caught.value.field) == ("bad_output", "--output")
    assert instead in str(caught.value.next)


def test_every_ending_of_a_table_that_is_read_is_written_or_refused() -> None:
    """None of them gets result lines, which would not be what the name says; JSONL has them."""
    for ending in source._ENDINGS:
        name = Path(f"a{ending}")
        if ending != ".jsonl" and format_of(name) is None:
            with pytest.raises(UsageError):
                check_ending(name)


@pytest.mark.parametrize("kind", ["results", "failures"])
def test_a_folder_is_not_replaced(tmp_path: Path, kind: str) -> None:
    output = tmp_path / "results.jsonl"
    written_to(output, kind).mkdir()

    with pytest.raises(UsageError, match="This is a folder") as caught:
        check_output(output, failures=True)

    assert caught.value.reason_code == "bad_output"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_takes_results_and_not_failures(tmp_path: Path) -> None:
    output = tmp_path / "results.jsonl"
    os.mkfifo(output)
    check_output(output, failures=True)
    os.mkfifo(written_to(output, "failures"))

    with pytest.raises(UsageError, match="something other than failures"):
        check_output(output, failures=True)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root reads everything")
def test_a_file_that_cannot_be_read_is_not_replaced(tmp_path: Path) -> None:
    output = tmp_path / "results.jsonl"
    output.write_bytes(CONTENTS["a result"][0])
    output.chmod(0)

    with pytest.raises(UsageError, match="something other than results"):
        check_output(output, failures=False)
