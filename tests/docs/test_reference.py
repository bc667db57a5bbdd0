"""The generated pages: they are what the source says now, and the documents that commands print are what they say."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import griffe
import pytest

import gemini_batch
from docs.pages import ROOT
from docstrings import as_markdown
from gemini_batch import cli
from gemini_batch.cli import COMMANDS
from reference.__main__ import FOLDER, PAGES
from reference.advice import ADVICE
from reference.error_codes import codes
from reference.json_documents import ALSO, ERROR_FIELDS, INVALID_INPUT_FIELDS, PROBLEM, RESULTS, ROW, events, result_of
from reference.kinds import Kind, fields

if TYPE_CHECKING:
    from pathlib import Path

PLAIN: dict[str, type | tuple[type, ...]] = {
    "string": str,
    "integer": int,
    "number": (int, float),
    "boolean": bool,
    "null": type(None),
}


@pytest.mark.parametrize("name", PAGES)
def test_a_generated_page_is_up_to_date(name: str) -> None:
    """If this fails: make docs-reference."""
    assert (FOLDER / name).read_text(encoding="utf-8") == PAGES[name]()


def test_every_error_code_has_advice_and_no_advice_is_left_over() -> None:
    assert ADVICE.keys() == codes().keys()


def test_every_command_with_json_is_described() -> None:
    assert RESULTS.keys() == COMMANDS.keys() - {"emulator"}


# What the commands print ----------------------------------------------------------------------------------------------


def wrong(value: Any, kinds: tuple[Kind, ...], place: str) -> list[str]:
    """Where a value is not of any of its documented types."""
    found = [_wrong(value, kind, place) for kind in kinds]
    return [] if [] in found else max(found, key=lambda each: -len(each))


def _wrong(value: Any, kind: Kind, place: str) -> list[str]:
    match kind.name:
        case "list" if isinstance(value, list):
            return [fault for one in value for fault in wrong(one, kind.inner, f"{place}[]")]
        case "map" if isinstance(value, dict):
            return [fault for one in value.values() for fault in wrong(one, kind.inner, f"{place}{{}}")]
        case "object" if isinstance(value, dict):
            told = {field.name: field.kinds for field in fields(kind)}
            faults = [f"{place}.{name}" for name in told.keys() ^ value.keys()]
            known = told.keys() & value.keys()
            return faults + [fault for name in known for fault in wrong(value[name], told[name], f"{place}.{name}")]
        case "value" if value == kind.value:
            return []
        case name if name in PLAIN and isinstance(value, PLAIN[name]):
            return []
    return [f"{place}: {value!r} is no {kind.name} {kind.value}"]


@pytest.fixture
def documents(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """Call with the words of a command: the lines of JSON that it prints."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GEMINI_BATCH_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("GEMINI_BATCH_OFFLINE", "1")
    monkeypatch.setenv("GEMINI_BATCH_POLL", "0")

    def run(*words: str) -> list[dict[str, Any]]:
        capsys.readouterr()
        cli.execute([*words, "--json"])
        return [json.loads(line) for line in capsys.readouterr().out.splitlines()]

    return run


def lines(*prompts: str) -> str:
    contents = [[{"parts": [{"text": prompt}]}] for prompt in prompts]
    return "".join(json.dumps({"key": f"k{n}", "request": {"contents": c}}) + "\n" for n, c in enumerate(contents))


def check(command: str, document: dict[str, Any]) -> None:
    assert document.keys() == {"version", "command", "result", *ALSO.get(command, ())}, command
    assert document["command"] == command
    assert wrong(document["result"], result_of(command), "result") == []


def test_the_documents_of_one_job(documents: Any, tmp_path: Path) -> None:
    """From create to doctor, every field that is printed is described, and has a type that is described."""
    (tmp_path / "requests.jsonl").write_text(lines("Hello.", "Tell me a long story."))
    check("validate", *documents("validate", "requests.jsonl"))
    check("models", *documents("models"))
    (made,) = documents("create", "requests.jsonl")
    check("create", made)
    job = made["result"]["job"]
    check("status", *documents("status", job, "--wait"))
    check("results", *documents("results", job))
    check("list", *documents("list"))
    check("cancel", *documents("cancel", job))
    check("clean", *documents("clean", "--dry-run"))
    check("doctor", *documents("doctor"))


def test_the_documents_and_events_of_a_run(documents: Any, tmp_path: Path) -> None:
    """A run of two jobs, its status, and a retry of the answer that was cut off."""
    short = {"contents": [{"parts": [{"text": "A story."}]}], "generationConfig": {"maxOutputTokens": 5}}
    (tmp_path / "requests.jsonl").write_text(lines("Hello.") + json.dumps({"key": "short", "request": short}) + "\n")
    *told, last = documents("run", "requests.jsonl", "-o", "results.jsonl", "--max-requests-per-job", "1")
    check("run", last)
    assert told
    for event in told:
        kind = events()[event.pop("event")]
        assert event.pop("version") == 1
        assert wrong(event, (kind,), kind.value) == []
    run = last["result"]["run"]
    check("status", *documents("status", run))
    *shown, last = documents("show", run)
    check("show", last)
    assert len(shown) == 2
    for row in shown:
        assert (row.pop("event"), row.pop("version")) == ("row", 1)
        assert wrong(row, (Kind("object", value=ROW[1], module=ROW[0]),), "row") == []
    *_, again = documents("retry", run, "--only", "truncated", "--max-output-tokens", "8192", "-o", "results.jsonl")
    check("retry", again)
    assert again["result"]["verdicts"] == {"succeeded": 2}


def test_the_error_documents(documents: Any, tmp_path: Path) -> None:
    (tmp_path / "requests.jsonl").write_text('{"key": "a", "request": {"contents": "Hello"}}\n')
    (refused,) = documents("create", "requests.jsonl")
    assert refused.keys() == {"version", "command", "error", "exit_code"}
    assert refused["error"].keys() == ERROR_FIELDS.keys() | INVALID_INPUT_FIELDS.keys()
    for problem in refused["error"]["problems"]:
        assert wrong(problem, (Kind("object", value=PROBLEM[1], module=PROBLEM[0]),), "problem") == []
    (unknown,) = documents("status", "run-00000000")
    assert unknown["error"].keys() == ERROR_FIELDS.keys()
    assert unknown["error"]["code"] in ADVICE


# The Python API -------------------------------------------------------------------------------------------------------


def test_every_public_name_is_on_the_page_of_the_python_api() -> None:
    """The page shows what has a docstring, read as the site's builder reads it: without importing anything."""
    extensions = griffe.load_extensions(str(ROOT / "tools" / "docstrings.py"))
    face = griffe.load("gemini_batch", search_paths=[ROOT / "src"], extensions=extensions)
    shown = {name for name, one in face.members.items() if one.has_docstring}
    assert {name for name in gemini_batch.__all__ if not name.startswith("__")} <= shown


@pytest.mark.parametrize(
    ("text", "markdown"),
    [
        ("A :class:`~gemini_batch.errors.Error`, or :func:`create`.", "A `Error`, or `create`."),
        ("A tree.\n\n::\n\n    Error\n", "A tree.\n\n\n    Error\n"),
        ("Like this::\n\n    Error\n", "Like this:\n\n    Error\n"),
        (
            "Do.\n\n>>> 1 + 1      # doctest: +SKIP\n2\n>>> 3\n\nMore.",
            "Do.\n\n```python\n>>> 1 + 1\n2\n>>> 3\n```\n\nMore.",
        ),
    ],
)
def test_docstrings_become_markdown(text: str, markdown: str) -> None:
    assert as_markdown(text) == markdown
