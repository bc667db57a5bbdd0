"""Errors: what they say, in words and as JSON, and the exit codes that hang on them."""

from __future__ import annotations

import copy
import json
import pickle
from pathlib import Path

import pytest

from gemini_batch import errors
from gemini_batch.errors import (
    ApiError,
    Error,
    Interrupted,
    InvalidInput,
    JobError,
    NetworkError,
    NotFinished,
    Problem,
    ServiceError,
    StateError,
    Terminated,
    UsageError,
)

PROBLEMS = [
    Problem(message="No key.", line=3, field="key", next="Add one."),
    Problem(message="Odd.", severity="warning"),
]
EXAMPLES: list[tuple[Error, int, str]] = [
    (Error("Something."), 4, "error"),
    (UsageError("No such file.", file="a.jsonl", next="Look again."), 2, "usage"),
    (InvalidInput("a.jsonl", PROBLEMS), 2, "invalid_input"),
    (StateError("The disk is full."), 3, "local_state"),
    (ServiceError("Odd answer."), 4, "service"),
    (NetworkError("Nobody listens.", sent=False), 4, "network"),
    (ApiError("Refused.", status=400), 4, "api_error"),
    (ApiError("Refused.", status=429, reason="RESOURCE_EXHAUSTED", retry_after=3.0), 4, "resource_exhausted"),
    (ApiError("Refused.", status=401, reason="UNAUTHENTICATED", code="api_key_refused"), 4, "api_key_refused"),
    (JobError("It failed.", job="batches/b", state="JOB_STATE_FAILED"), 5, "job_ended_without_results"),
    (NotFinished("It runs.", job="batches/b", state="JOB_STATE_RUNNING"), 6, "not_finished"),
    (Interrupted("Stopped."), 130, "interrupted"),
    (Terminated("Stopped."), 143, "terminated"),
]


@pytest.mark.parametrize(("error", "exit_code", "code"), EXAMPLES, ids=[code for _, _, code in EXAMPLES])
def test_exit_codes_and_codes_are_the_documented_ones(error: Error, exit_code: int, code: str) -> None:
    assert error.exit_code == exit_code
    assert error.reason_code == code
    assert error.as_json()["code"] == code


def test_no_kind_of_error_is_missing_here() -> None:
    kinds = {kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, Error)}
    assert {type(error) for error, _, _ in EXAMPLES} == kinds


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (UsageError("Bad."), "Bad."),
        (UsageError("Bad.", file="a.jsonl"), "a.jsonl: Bad."),
        (
            UsageError("Bad.", file=Path("a.jsonl"), line=3, field="request.contents"),
            "a.jsonl:3:request.contents: Bad.",
        ),
        (UsageError("Bad.", line=3), "3: Bad."),
        (UsageError("Bad.", line=0), "0: Bad."),
        (UsageError("Bad.", next="Type: good"), "Bad. Type: good"),
        (UsageError("The service said no", next="Ask again."), "The service said no. Ask again."),
        (UsageError("Really?", next="Yes."), "Really? Yes."),
    ],
)
def test_error_is_one_plain_paragraph(error: Error, text: str) -> None:
    assert str(error) == text


@pytest.mark.parametrize(
    ("error", "found", "step"),
    [
        (InvalidInput("a.jsonl", PROBLEMS[:1]), "1 problem found", "Fix the line and run the same command again."),
        (InvalidInput("a.jsonl", PROBLEMS[:1], total=90), "90 problems found", "Fix the lines and run the same "),
        (InvalidInput("a.jsonl", PROBLEMS[:1], unit="row"), "1 problem found", "Fix the row or the options and run"),
        (InvalidInput("a.jsonl", PROBLEMS[:1], corrected="fix"), "1 problem found", "or write a corrected copy: fix"),
    ],
)
def test_a_refused_file_says_the_first_problem_where_no_list_of_them_is_shown(
    error: InvalidInput, found: str, step: str
) -> None:
    """The command line lists the problems itself, before the paragraph."""
    assert str(error).startswith(f"a.jsonl: {found}; nothing was sent. Line 3: No key. Add one. Fix the ")
    assert step in str(error)
    assert "No key" not in error.paragraph()
    assert step in error.paragraph()


def test_a_refused_file_without_an_error_is_one_paragraph() -> None:
    assert str(InvalidInput("a.jsonl", PROBLEMS[1:])) == (
        "a.jsonl: 1 problem found; nothing was sent. Fix the line and run the same command again."
    )


def test_error_as_json_has_all_the_documented_fields() -> None:
    error = UsageError("Bad.", file=Path("a.jsonl"), line=3, field="key", next="Fix it.", code="bad_key")
    assert error.as_json() == {
        "code": "bad_key",
        "message": "Bad.",
        "file": "a.jsonl",
        "line": 3,
        "field": "key",
        "next": "Fix it.",
        "next_why": None,
    }
    assert UsageError("Bad.").as_json() == {
        "code": "usage",
        "message": "Bad.",
        "file": None,
        "line": None,
        "field": None,
        "next": None,
        "next_why": None,
    }


def test_invalid_input_carries_every_problem() -> None:
    told = InvalidInput("a.jsonl", PROBLEMS, total=7).as_json()
    assert told["total"] == 7
    assert told["problems"] == [
        {"severity": "error", "line": 3, "original": None, "field": "key", "message": "No key.", "next": "Add one."},
        {"severity": "warning", "line": None, "original": None, "field": None, "message": "Odd.", "next": None},
    ]


@pytest.mark.parametrize("error", [error for error, _, _ in EXAMPLES], ids=[code for _, _, code in EXAMPLES])
def test_error_survives_the_way_to_another_process(error: Error) -> None:
    for again in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert type(again) is type(error)
        assert str(again) == str(error)
        assert again.args == error.args
        assert vars(again) == vars(error)
        json.dumps(again.as_json())
