"""What is proposed after rows without a good answer: never at a cost what ends as before."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from engine.clock import Clock
from engine.fake import FakeService, answer_line, write_requests
from engine.steps import again, begin, held, work
from gemini_batch.answers.reasons import GRPC_NAMES, TRANSIENT_CODES
from gemini_batch.errors import Next, UsageError
from gemini_batch.store.ledger.run_options import RunOptions

if TYPE_CHECKING:
    from pathlib import Path

    from gemini_batch.report.result_set import Results

LASTING = sorted(GRPC_NAMES.keys() - TRANSIENT_CODES - {0, 1})
#: One attempt each, so that nothing is left for `run` to send again.
ONE = RunOptions(attempts=1)


@pytest.fixture
def service(tmp_path: Path) -> FakeService:
    write_requests(tmp_path / "in.jsonl", ["a", "b", "c"], max_tokens=9)
    return FakeService(Clock(), chunk=10_000)


def failing(service: FakeService, folder: Path, **codes: int) -> Results:
    """A run whose keys fail with these codes; 0: the line has no answer at all."""
    service.answer_at = lambda key, _: (
        answer_line(key)
        if key not in codes
        else msgspec.json.encode({"error": {"code": codes[key], "message": "why"}, "key": key})
        if codes[key]
        else None
    )
    return work(service, folder, options=ONE)


@pytest.mark.parametrize("code", LASTING)
def test_what_fails_for_good_is_to_be_fixed(service: FakeService, tmp_path: Path, code: int) -> None:
    found = failing(service, tmp_path, a=code)

    following = found.summary.next
    assert isinstance(following, str)
    assert f"1 request failed for a reason that another attempt does not change ({GRPC_NAMES[code]})" in following
    assert "Fix it and send it in a new file. The failures file" in following
    assert "--only" not in following


@pytest.mark.parametrize("code", [*sorted(TRANSIENT_CODES), 15_000])
def test_what_may_pass_is_offered_to_retry(service: FakeService, tmp_path: Path, code: int) -> None:
    """An unknown code is not known to be lasting."""
    found = failing(service, tmp_path, a=code)

    following = found.summary.next
    assert isinstance(following, Next)
    assert str(following).startswith(f"gemini-batch retry {found.summary.run} --only failed -o results.jsonl")
    assert following.why == "this costs money"


def test_a_retry_of_both_kinds_says_which_ones_fail_again(service: FakeService, tmp_path: Path) -> None:
    following = failing(service, tmp_path, a=13, b=3, c=7).summary.next

    assert isinstance(following, Next)
    assert following.args[1:3] == ("--only", "failed")
    assert following.why == "INVALID_ARGUMENT, PERMISSION_DENIED will end as before; this costs money"


def test_only_missing_rows_are_offered_next_to_lasting_ones(service: FakeService, tmp_path: Path) -> None:
    following = failing(service, tmp_path, a=3, b=0).summary.next

    assert isinstance(following, Next)
    assert following.args[1:3] == ("--only", "missing")
    assert following.why == "this costs money"


def steps(found: Results) -> list[tuple[str, ...] | str]:
    """What is proposed: the options of each ``retry``, the name of another command, or the first word of a sentence."""
    shown: list[tuple[str, ...] | str] = []
    for one in found.summary.next_steps:
        if isinstance(one.next, Next):
            shown.append(one.next.args[1:-2] if one.next.command == "retry" else one.next.command)
        else:
            shown.append("fix")
    assert found.summary.next == (found.summary.next_steps[0].next if shown else None)
    return shown


Line = dict[str, Any]
CUT: Line = {"response": {"candidates": [{"content": {"parts": [{"text": "half"}]}, "finishReason": "MAX_TOKENS"}]}}
FULL: Line = {"response": {"candidates": [{"content": {"parts": [{"text": "half"}]}, "finishReason": "CONTINUATION"}]}}
EMPTY: Line = {"response": {"candidates": [{"finishReason": "STOP"}]}}
FILTERED: Line = {"response": {"candidates": [{"finishReason": "SAFETY"}]}}
PASSING: Line = {"error": {"code": 13, "message": "An internal error."}}
WRONG: Line = {"error": {"code": 3, "message": "Wrong."}}
MORE = ("--only", "truncated", "--max-output-tokens", "8192")
#: What became of the requests, and every step that is proposed after it.
AFTER: dict[str, tuple[list[Line | None], list[tuple[str, ...] | str]]] = {
    "nothing": ([], []),
    "cut off": ([CUT], [MORE]),
    "at the most of one request": ([FULL], ["fix"]),
    "cut off, at the most of one request": ([CUT, FULL], [MORE, "fix"]),
    "cut off, wrong": ([WRONG, CUT], [MORE, "fix"]),
    "cut off, empty": ([EMPTY, CUT], [MORE, ("--only", "empty")]),
    "cut off, failed": ([PASSING, CUT], [MORE, ("--only", "failed")]),
    "all of them": (
        [FILTERED, WRONG, None, PASSING, EMPTY, CUT],
        [MORE, ("--only", "empty"), ("--only", "failed,missing"), "fix", "fix"],
    ),
    "failed, wrong": ([PASSING, WRONG], [("--only", "failed"), "fix"]),
    "missing, wrong": ([None, WRONG], [("--only", "missing"), "fix"]),
    "wrong": ([WRONG, WRONG], ["fix"]),
    "filtered": ([FILTERED], ["fix"]),
    "filtered, cut off": ([FILTERED, CUT], [MORE, "fix"]),
}


@pytest.mark.parametrize("name", AFTER)
def test_after_several_kinds_of_failure_every_step_is_named_in_order(tmp_path: Path, name: str) -> None:
    lines, proposed = AFTER[name]
    keys = [f"k{n}" for n in range(len(lines))]
    write_requests(tmp_path / "in.jsonl", [*keys, "good"], max_tokens=9)
    service = FakeService(Clock(), chunk=10_000)
    answers = dict(zip(keys, lines, strict=True))
    service.answer_at = lambda key, _: (
        answer_line(key)
        if key not in answers
        else msgspec.json.encode({**answer, "key": key})
        if (answer := answers[key])
        else None
    )

    assert steps(work(service, tmp_path, options=ONE)) == proposed


#: The limits that requests set, and what is proposed for those that were cut off there; the model gives 65,536.
LIMITS: dict[str, tuple[list[int | str], str | None, int]] = {
    "small": ([9], "8192", 0),
    "as proposed": ([8192], "16384", 0),
    "between": ([10_000], "20000", 0),
    "the largest counts": ([9, 20_000, 300], "40000", 0),
    "as text": (["20000"], "40000", 0),
    "more than half": ([40_000], "65536", 0),
    "the model's": ([65_536], None, 1),
    "more than the model's": ([100_000, 65_536], None, 2),
    "some at the model's": ([100, 65_536], "8192", 1),
}


@pytest.mark.parametrize("name", LIMITS)
@pytest.mark.parametrize("size", [100, 1], ids=["one job", "many jobs"])
def test_a_limit_is_proposed_that_is_larger_than_the_one_that_was_set(tmp_path: Path, name: str, size: int) -> None:
    limits, proposed, at_most = LIMITS[name]
    texts = {"contents": [{"parts": [{"text": "Hello"}]}]}
    lines = [
        {"key": f"k{n}", "request": {**texts, "generationConfig": {"maxOutputTokens": limit}}}
        for n, limit in enumerate(limits)
    ]
    (tmp_path / "in.jsonl").write_bytes(b"".join(msgspec.json.encode(line) + b"\n" for line in lines))
    service = FakeService(Clock(), chunk=10_000)
    service.answer_at = lambda key, _: msgspec.json.encode({**CUT, "key": key})

    options = RunOptions(attempts=1, max_requests_per_job=size)
    found = work(service, tmp_path, options=options, lenient=True, model="gemini-3.6-flash")

    retries = [one.next.args[3:5] for one in found.summary.next_steps if isinstance(one.next, Next)]
    assert retries == ([] if proposed is None else [("--max-output-tokens", proposed)])
    fixes = [one.next for one in found.summary.next_steps if isinstance(one.next, str)]
    assert len(fixes) == bool(at_most)
    for fix in fixes:
        cut = "1 request was" if at_most == 1 else f"{at_most} requests were"
        assert f"{cut} cut off at 65,536 tokens, the most that gemini-3.6-flash gives" in fix


def test_the_limit_of_a_retry_is_raised_by_the_next_one(service: FakeService, tmp_path: Path) -> None:
    """Of the requests as they were sent, not of those in the file."""
    service.answer_at = lambda key, _: msgspec.json.encode({**CUT, "key": key})
    run = work(service, tmp_path, options=ONE).summary.run

    for limit, proposed in ((8192, "16384"), (16_384, "32768"), (100, "8192")):
        found = again(service, tmp_path, run, "truncated", max_output_tokens=limit)
        assert steps(found) == [("--only", "truncated", "--max-output-tokens", proposed)] or (
            isinstance(found.summary.next, Next) and found.summary.next.args[4] == proposed
        )


def test_each_step_that_costs_money_says_so(service: FakeService, tmp_path: Path) -> None:
    found = failing(service, tmp_path, a=13, b=3, c=0)

    retry, fix = found.summary.next_steps
    assert isinstance(retry.next, Next)
    assert retry.next.why == "INVALID_ARGUMENT will end as before; this costs money"
    assert "1 request failed for a reason that another attempt does not change (INVALID_ARGUMENT)" in str(fix.next)


def test_what_run_resends_is_not_proposed_to_retry_as_well(service: FakeService, tmp_path: Path) -> None:
    """`run` itself says what is left after it."""
    lines = {"a": PASSING, "b": CUT, "c": WRONG}
    service.answer_at = lambda key, _: msgspec.json.encode({**lines[key], "key": key})
    job = begin(service, tmp_path).job
    service._move(service.jobs[0])

    found = held(service, tmp_path, job)

    assert steps(found) == ["run", MORE, "fix"]


@pytest.mark.parametrize(("code", "lasts"), [(3, True), (7, True), (13, False), (None, False)])
def test_a_job_that_failed_for_good_is_not_offered_again(
    service: FakeService, tmp_path: Path, code: int | None, *, lasts: bool
) -> None:
    service.ends = {0: ("BATCH_STATE_FAILED", code)}

    following = work(service, tmp_path, options=ONE).summary.next

    assert isinstance(following, str if lasts else Next), following
    assert ("JOB_FAILED" if lasts else "--only missing") in str(following)


@pytest.mark.parametrize("chosen", ["blocked", "missing"])
def test_a_retry_of_nothing_proposes_no_lasting_ones(service: FakeService, tmp_path: Path, chosen: str) -> None:
    found = failing(service, tmp_path, a=3)

    with pytest.raises(UsageError) as caught:
        again(service, tmp_path, found.summary.run, chosen)

    assert caught.value.reason_code == "nothing_to_retry"
    assert caught.value.next == found.summary.next


@pytest.mark.parametrize(("code", "proposed"), [(3, "does not change"), (13, "--only failed"), (0, "--only missing")])
def test_a_change_that_embeddings_do_not_take(service: FakeService, tmp_path: Path, code: int, proposed: str) -> None:
    (tmp_path / "in.jsonl").write_bytes(
        b"".join(
            msgspec.json.encode({"key": key, "request": {"content": {"parts": [{"text": "x"}]}}}) + b"\n"
            for key in "ab"
        )
    )
    vector = {"response": {"embedding": {"values": [0.5]}}}
    service.answer_at = lambda key, _: (
        msgspec.json.encode({**vector, "key": key})
        if key != "a"
        else msgspec.json.encode({"error": {"code": code, "message": "why"}, "key": key})
        if code
        else None
    )
    found = work(service, tmp_path, options=ONE)

    with pytest.raises(UsageError, match="embeddings") as caught:
        again(service, tmp_path, found.summary.run, "failed", temperature=1.0)

    assert proposed in str(caught.value.next)


@pytest.mark.parametrize(("keys", "words"), [("a", "1 request was blocked"), ("ab", "2 requests were blocked")])
def test_blocked_rows_are_to_be_changed(service: FakeService, tmp_path: Path, keys: str, words: str) -> None:
    blocked = {"response": {"promptFeedback": {"blockReason": "SAFETY"}}}
    service.answer_at = lambda key, _: msgspec.json.encode({**blocked, "key": key}) if key in keys else answer_line(key)

    following = work(service, tmp_path, options=ONE).summary.next

    assert isinstance(following, str)
    assert following.startswith(words)
    assert "Change the prompt or safetySettings" in following
