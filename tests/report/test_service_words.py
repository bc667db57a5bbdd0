"""Why rows did not succeed, in the service's own words: in summary and failures file, as in the result lines."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from engine.clock import Clock
from engine.fake import FakeService, answer_line, write_requests
from engine.steps import again, work
from gemini_batch.answers.reasons import GRPC_NAMES
from gemini_batch.answers.redaction import redact_words
from gemini_batch.catalog import Method
from gemini_batch.engine.judging import judge_file
from gemini_batch.safe_text import Redactor
from gemini_batch.store.ledger.records import Job, JobStage, Run
from gemini_batch.store.ledger.run_options import RunOptions
from gemini_batch.store.rows import answer_writer
from gemini_batch.store.rows.row_records import RequestRow, key_hash
from gemini_batch.store.state_folder import StateFolder

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from gemini_batch.report.result_set import Results
    from gemini_batch.store.rows.row_records import Reason

ONE = RunOptions(attempts=1)
Line = dict[str, Any]


def finished(reason: str, words: str | None) -> Line:
    return {"response": {"candidates": [{"finishReason": reason, "finishMessage": words}]}}


def blocked(reason: str, words: str | None) -> Line:
    return {"response": {"promptFeedback": {"blockReason": reason, "blockReasonMessage": words}}}


def error(code: object, words: str | None) -> Line:
    return {"error": {"code": code, "message": words}}


#: Each place where the service can say something, the verdict and reason there.
PLACES: dict[str, tuple[Callable[[str | None], Line], str, str]] = {
    "error": (lambda words: error(3, words), "failed", "INVALID_ARGUMENT"),
    "passing error": (lambda words: error(13, words), "failed", "INTERNAL"),
    "HTTP status": (lambda words: error(429, words), "failed", "RESOURCE_EXHAUSTED"),
    "unknown code": (lambda words: error(15_000, words), "failed", "UNKNOWN_CODE"),
    "error without a code": (lambda words: {"error": {"message": words}}, "failed", "UNREADABLE_ERROR"),
    "code of success": (lambda words: error(0, words), "failed", "OK_AS_ERROR"),
    "status in place of error": (lambda words: {"status": {"code": 5, "message": words}}, "failed", "NOT_FOUND"),
    "finish message": (lambda words: finished("SAFETY", words), "blocked", "SAFETY"),
    "finish message of a failure": (lambda words: finished("OTHER", words), "failed", "OTHER"),
    "cut off": (lambda words: finished("MAX_TOKENS", words), "truncated", "MAX_TOKENS"),
    "no image": (lambda words: finished("NO_IMAGE", words), "empty", "NO_IMAGE"),
    "no finish reason": (
        lambda words: {"response": {"candidates": [{"finishMessage": words}]}}, "failed", "NO_FINISH_REASON",
    ),
    "blocked prompt": (lambda words: blocked("SAFETY", words), "blocked", "PROMPT_SAFETY"),
}  # fmt: skip
KEYS = ["a", "b", "c", "d", "e"]


@pytest.fixture
def service(tmp_path: Path) -> FakeService:
    write_requests(tmp_path / "in.jsonl", KEYS, max_tokens=9)
    return FakeService(Clock(), chunk=10_000)


def answered(service: FakeService, folder: Path, lines: Mapping[str, Line]) -> Results:
    """A run in one job, in which these keys get these lines, and all others an answer."""
    service.answer_at = lambda key, _: (
        msgspec.json.encode({**lines[key], "key": key}) if key in lines else answer_line(key)
    )
    return work(service, folder, options=ONE)


def told(failures: list[Reason]) -> list[tuple[str, str, int, str | None, list[str]]]:
    return [(one.verdict, one.reason, one.count, one.message, one.keys) for one in failures]


def failures_file(folder: Path) -> dict[str, Line]:
    lines = [msgspec.json.decode(line) for line in (folder / "failures.jsonl").read_bytes().splitlines()]
    return {line["key"]: line for line in lines}


@pytest.mark.parametrize("place", PLACES)
def test_different_words_are_different_failures(service: FakeService, tmp_path: Path, place: str) -> None:
    made, verdict, reason = PLACES[place]
    lines = {"a": made("One."), "b": made("Two."), "c": made("One."), "d": made(None)}

    found = answered(service, tmp_path, lines)

    (no_words,) = [one for one in found.summary.failures if one.keys == ["d"]]
    assert told(found.summary.failures) == [
        (verdict, reason, 2, "One.", ["a", "c"]),
        *sorted([(verdict, reason, 1, no_words.message, ["d"]), (verdict, reason, 1, "Two.", ["b"])],
                key=lambda one: one[3] or ""),
    ]  # fmt: skip
    # What names a code that has no name here is worth keeping, too.
    assert no_words.message == ("The error has the unknown code 15000." if reason == "UNKNOWN_CODE" else None)


@pytest.mark.parametrize("place", PLACES)
def test_the_failures_file_has_the_words_of_the_result_line(service: FakeService, tmp_path: Path, place: str) -> None:
    made, verdict, reason = PLACES[place]

    found = answered(service, tmp_path, {"a": made("One."), "b": made("Two.")})

    said = failures_file(tmp_path)
    assert {key: (line["verdict"], line["reason"], line["message"]) for key, line in said.items()} == {
        "a": (verdict, reason, "One."), "b": (verdict, reason, "Two."),
    }  # fmt: skip
    assert {row["key"]: row["error"]["message"] for row in found if "error" in row} == {"a": "One.", "b": "Two."}
    codes = {row["key"]: row["error"]["code"] for row in found if "error" in row}
    assert {key: line["code"] for key, line in said.items()} == codes
    assert (codes["a"] is None) is (reason not in {*GRPC_NAMES.values(), "UNKNOWN_CODE", "OK_AS_ERROR"})
    assert list(said["a"]) == ["key", "verdict", "reason", "code", "message", "line"]


@pytest.mark.parametrize(
    "line",
    [
        pytest.param({"response": {"candidates": []}}, id="nothing"),
        pytest.param({"response": {"candidates": [{"finishReason": "MAX_TOKENS"}]}}, id="cut off"),
        pytest.param(error(3, ""), id="no words"),
        pytest.param(error(3, "\x00 \n"), id="white space"),
        pytest.param({"response": []}, id="unreadable"),
    ],
)
def test_where_the_service_says_nothing_there_is_no_message(service: FakeService, tmp_path: Path, line: Line) -> None:
    found = answered(service, tmp_path, {"a": line, "b": line})

    assert [(one.count, one.message) for one in found.summary.failures] == [(2, None)]
    assert {one["message"] for one in failures_file(tmp_path).values()} == {None}


def test_a_finish_reason_that_is_unknown_is_named(service: FakeService, tmp_path: Path) -> None:
    found = answered(service, tmp_path, {"a": finished("NEW", None), "b": finished("NEWER", None)})

    assert told(found.summary.failures) == [
        ("failed", "UNKNOWN_FINISH_REASON", 1, "The finish reason 'NEW' is unknown.", ["a"]),
        ("failed", "UNKNOWN_FINISH_REASON", 1, "The finish reason 'NEWER' is unknown.", ["b"]),
    ]


def test_missing_rows_have_a_reason_and_no_message(service: FakeService, tmp_path: Path) -> None:
    service.answer_at = lambda key, _: None if key == "b" else answer_line(key)

    found = work(service, tmp_path, options=ONE)

    assert told(found.summary.failures) == [("missing", "NO_LINE", 1, None, ["b"])]
    assert failures_file(tmp_path)["b"]["message"] is None


def test_words_are_safe_and_short(service: FakeService, tmp_path: Path) -> None:
    found = answered(
        service, tmp_path, {"a": error(3, "\x1b[2JTwo\nlines\u202e."), "b": error(3, "x" * 10_000)}
    )  # fmt: skip

    first, second = (one.message for one in found.summary.failures)
    assert first == "[2JTwo lines ."
    assert second is not None
    assert (len(second), second[-2:]) == (300, "x…")


def test_the_key_is_in_no_message(tmp_path: Path) -> None:
    """It is removed from the file of answers before anything is judged."""
    secret = "AIza" + "s3cr3t" * 6
    folder, run, job = one_job(tmp_path, ["a"])
    raw = folder.raw(job.id)
    raw.write_bytes(msgspec.json.encode({**error(7, f"The key {secret} may not do that."), "key": "a"}) + b"\n")

    redact_words(raw, Redactor(secret))
    judge_file(lambda _: None, folder, run, job, "NO_LINE")

    with folder.rows() as rows:
        assert [one.message for one in rows.reasons()] == ["The key … may not do that."]
    assert secret.encode() not in (folder.path / "rows.db").read_bytes()


def test_a_new_answer_takes_the_old_words_away(service: FakeService, tmp_path: Path) -> None:
    found = answered(service, tmp_path, {"a": error(3, "First."), "b": error(3, "First.")})
    service.answer_at = lambda key, _: (
        msgspec.json.encode({**error(3, "Second."), "key": key}) if key == "a" else answer_line(key)
    )

    retried = again(service, tmp_path, found.summary.run, "failed")

    assert told(retried.summary.failures) == [("failed", "INVALID_ARGUMENT", 1, "Second.", ["a"])]


# The bound -----------------------------------------------------------------------------------------------------------


def one_job(tmp_path: Path, keys: list[str]) -> tuple[Any, Run, Job]:
    """A run folder whose requests with these keys are in one job; its raw file is to be written."""
    folder = StateFolder(tmp_path / "home").run("run-a")
    shutil.rmtree(folder.path, ignore_errors=True)
    folder.path.mkdir(parents=True)
    folder.raw("run-a-1").parent.mkdir()
    with folder.rows() as rows:
        rows.load(RequestRow(n, n + 1, key, key_hash(key), n * 10, 9, False, None, 1) for n, key in enumerate(keys))
        rows.take(1, requests=len(keys), bytes=10**9, tokens=None)
    run = Run(
        id="run-a", identity="i", origin="made", created_at=0.0, method=Method.GENERATE, model="m", backend="x",
        requests=len(keys), bytes=0, sha256="", source=None,
    )  # fmt: skip
    job = Job(
        id="run-a-1", run="run-a", ordinal=1, model="m", requests=len(keys), tokens=0, part=None, offset=0, bytes=0,
        sha256="", input_kind="file", display_name="n", stage=JobStage.ENDED, batch="batches/x", total=len(keys),
    )  # fmt: skip
    return folder, run, job


def test_ever_new_words_stay_bounded_and_crowd_no_other_reason_out(tmp_path: Path) -> None:
    """A message with an id in it is new for each row; what comes later with another reason is still kept."""
    keys = [f"k{n}" for n in range(1000)]
    folder, run, job = one_job(tmp_path, [*keys, "last"])
    lines = [{**error(13, f"Error {key}."), "key": key} for key in keys]
    lines.append({**error(3, "The schema is wrong."), "key": "last"})
    folder.raw(job.id).write_bytes(b"\n".join(map(msgspec.json.encode, lines)))

    judge_file(lambda _: None, folder, run, job, "NO_LINE")

    with folder.rows() as rows:
        found = rows.reasons()
    most = answer_writer.MESSAGES_PER_REASON
    assert told(found)[0] == ("failed", "INTERNAL", 1000 - most, None, [f"k{most + n}" for n in range(3)])
    assert [one.message for one in found if one.reason == "INTERNAL"][1:] == sorted(f"Error k{n}." for n in range(most))
    assert [one.message for one in found if one.reason == "INVALID_ARGUMENT"] == ["The schema is wrong."]


def test_ever_new_reasons_stay_bounded(tmp_path: Path) -> None:
    """The service invents block reasons."""
    keys = [f"K{n}" for n in range(500)]
    folder, run, job = one_job(tmp_path, keys)
    folder.raw(job.id).write_bytes(b"\n".join(msgspec.json.encode({**blocked(key, "No."), "key": key}) for key in keys))

    judge_file(lambda _: None, folder, run, job, "NO_LINE")

    with folder.rows() as rows:
        found = rows.reasons()
    assert sum(one.message is not None for one in found) == answer_writer.MESSAGES_IN_ALL


def test_the_same_file_again_gives_the_same_words(tmp_path: Path) -> None:
    """What a job said before makes room, however often its file is judged."""
    keys = [f"k{n}" for n in range(30)]
    folder, run, job = one_job(tmp_path, keys)
    for word in ("old", "new", "new"):
        folder.raw(job.id).write_bytes(
            b"\n".join(msgspec.json.encode({**error(13, f"{word} {key}"), "key": key}) for key in keys)
        )
        judge_file(lambda _: None, folder, run, job, "NO_LINE")

        with folder.rows() as rows:
            found = [one.message for one in rows.reasons() if one.message]
        assert found == sorted(f"{word} k{n}" for n in range(answer_writer.MESSAGES_PER_REASON))
