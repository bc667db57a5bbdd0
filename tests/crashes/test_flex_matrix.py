"""What a service can answer, and what can happen on the way, met by calls: one honest answer for each row.

Where a batch can show the same, its verdicts are the same. Every third case is tried, all with ``CRASH_POINTS=all``.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
import pytest

from crashes.test_flex import repeated, worked_off
from engine.steps import jobs_of
from gemini_batch.errors import ServiceError
from gemini_batch.store.ledger.run_options import RunOptions

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from crashes.conftest import Place

T = TypeVar("T")
KEYS = [f"k{n}" for n in range(7)]
#: One call at a time, so that faults meet the rows in their order, as in a job.
IN_ORDER = RunOptions(via="flex", concurrency=1)
AS_JSON = {"generationConfig": {"responseMimeType": "application/json", "responseSchema": {"type": "OBJECT"}}}
BY_SCHEMA = {"generationConfig": {"responseMimeType": "application/json", "responseJsonSchema": {"required": ["name"]}}}
PAGE = "<!DOCTYPE html>\n<title>Please log in</title>"


def tried(cases: Sequence[T]) -> Sequence[T]:
    return cases if os.environ.get("CRASH_POINTS") == "all" else cases[::3]


def write(place: Place, request: Mapping[str, Any]) -> None:
    lines = [
        msgspec.json.encode({"key": key, "request": {"contents": [{"parts": [{"text": f"Say {key}."}]}], **request}})
        for key in KEYS
    ]
    (place.folder / "in.jsonl").write_bytes(b"\n".join(lines) + b"\n")


def bad(place: Place) -> list[str]:
    """Verdict and reason of the rows that did not succeed; no row has the answer to another one."""
    rows = place.read()
    assert [row["key"] for row in rows] == KEYS
    for row in rows:
        said = row.get("response", {}).get("text") or ""
        assert "Say k" not in said or f"Say {row['key']}." in said
    return [f"{row['verdict']} {row['error']['reason']}" for row in rows if row["verdict"] != "succeeded"]


# What the service answers --------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Answers:
    """``fault``: empty for none, None for the scenario of this name. ``bad``: what does not succeed. ``by_calls``: the
    same, where a call shows it in another way."""

    name: str
    fault: Mapping[str, Any] | None = None
    request: Mapping[str, Any] = field(default_factory=dict)
    bad: tuple[str, ...] = ()
    by_calls: tuple[str, ...] | None = None


def _error(code: int, times: int) -> dict[str, Any]:
    return {"row": "error", "code": code, "times": times}


ANSWERS = (
    Answers(name="G1", bad=("blocked PROMPT_PROHIBITED_CONTENT",)),
    Answers(name="G2", bad=("blocked SAFETY",)),
    Answers(name="G3", bad=("blocked RECITATION", "blocked RECITATION")),
    Answers(name="G4", bad=("truncated MODEL_MAX_TOKENS", "truncated MODEL_MAX_TOKENS", "empty EMPTY_TEXT")),
    Answers(name="G5", bad=("empty NO_CANDIDATES",)),
    Answers(name="G6", request=AS_JSON, bad=("invalid NOT_JSON",)),
    Answers(name="G7", request=AS_JSON, bad=("invalid JSON_IN_FENCES",)),
    Answers(name="G8", request=BY_SCHEMA, bad=("invalid SCHEMA",)),
    Answers(name="S1", request=BY_SCHEMA, bad=("invalid NOT_JSON",) * len(KEYS)),
    Answers(name="G9"),
    Answers(name="G10"),
    Answers(name="G11", bad=("failed UNKNOWN_FINISH_REASON",)),
    Answers(name="G12"),
    Answers(name="G13", bad=("failed INVALID_ARGUMENT",)),
    Answers(name="G14", bad=("truncated CONTINUATION", "blocked MODEL_ARMOR", "blocked PUP_LIMITED_DISABLED")),
    Answers(name="R8"),
    Answers(name="only citations", fault={"row": "citations"}, bad=("empty CITATIONS_ONLY",)),
    Answers(name="nothing", fault={"row": "nothing"}, bad=("empty NO_RESPONSE",), by_calls=("empty NO_CANDIDATES",)),
    Answers(name="a wrong request", fault=_error(3, 0), bad=("failed INVALID_ARGUMENT",) * len(KEYS)),
    Answers(name="it always fails", fault=_error(13, 0), bad=("failed INTERNAL",) * len(KEYS)),
    Answers(name="unavailable for a while", fault=_error(14, 3)),
    Answers(name="a deadline once", fault=_error(4, 1)),
    Answers(name="over quota for a while", fault=_error(8, 3)),
    Answers(name="no cache", fault={}, request={"cachedContent": "cachedContents/gone"},
            bad=("failed PERMISSION_DENIED",) * len(KEYS)),
)  # fmt: skip


@pytest.mark.parametrize("answers", tried(ANSWERS), ids=lambda answers: answers.name.replace(" ", "-"))
def test_calls_are_judged_as_batches_are(place: Place, answers: Answers) -> None:
    write(place, answers.request)
    place.service.pace(queue_delay=60.0)
    for way, expected in (("batch", answers.bad), ("flex", answers.by_calls or answers.bad)):
        place.service.faults.clear()
        if answers.fault is None:
            place.service.faults.arm(answers.name)
        elif answers.fault:
            place.service.faults.arm(**answers.fault)
        options = IN_ORDER if way == "flex" else RunOptions(via="batch")

        found = worked_off(place, options, home=way, key=way)

        assert sorted(bad(place)) == sorted(expected), way
        assert found.summary.exit_code == (bool(expected) if len(expected) < len(KEYS) else 1), way
        assert all(fault["played"] for fault in place.service.faults.armed()), way
    assert repeated(place)["doubles"] == 0


# What happens on the way ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Way:
    """What happens to the first call. ``doubtful``: whether it may have been paid for; ``doubles``: whether it was."""

    name: str
    fault: Mapping[str, Any]
    doubtful: int = 0
    doubles: int = 0
    bad: tuple[str, ...] = ()


def _way(name: str, *, bad: str = "", **fault: Any) -> Way:
    return Way(name=name, fault=fault, bad=(bad,) if bad else ())


def _broken(name: str, *, paid: bool = False, **fault: Any) -> Way:
    return Way(name=name, fault=fault, doubtful=1, doubles=int(paid))


REFUSED = '{"error":{"code":400,"message":"no","status":"INVALID_ARGUMENT"}}'
ON_LINES = '{\n"candidates": [\r\n{"content": {"parts": [{"text": "a"}]}, "finishReason": "STOP"}]}\r\n'

WAYS = (
    _broken("closed", drop="close"),
    _broken("answered and closed", drop="close", commit=True, paid=True),
    _broken("shorter than declared", length=64, paid=True),
    _broken("cut to its declared length", length=-20, paid=True),
    _way("slow", drip=4000.0),
    _broken("silence", silence=0.1),
    _broken("answered, and silence", silence=0.1, commit=True, paid=True),
    _broken("a page of a proxy", error="html_502"),
    _broken("answered, and a page of a proxy", error="html_502", commit=True, paid=True),
    _broken("a page with 200", body=PAGE, paid=True),
    _broken("a page with 200, compressed", body=PAGE, gzip=True, paid=True),
    _broken("a page with 403", status=403, body=PAGE),
    _broken("a page with 404", status=404, body=PAGE),
    _broken("a page with 501", status=501, body=PAGE),
    _broken("nothing at all", body="", paid=True),
    _broken("a list", body="[]", paid=True),
    _broken("null", body="null", paid=True),
    _broken("half an answer", body='{"candidates":[{"content"', paid=True),
    _broken("no JSON", body='{"candidates":}', paid=True),
    _broken("not compressed as it says", headers={"Content-Encoding": "gzip"}, paid=True),
    _broken("compressed in an unknown way", headers={"Content-Encoding": "br"}, paid=True),
    _broken("no content", status=204, body=""),
    _broken("accepted", status=202, body="{}"),
    _broken("moved", status=301, headers={"Location": "/elsewhere"}, body=""),
    _broken("found at another address", status=302, headers={"Location": "https://127.0.0.1:9/login"}, body=""),
    _broken("redirected with its body", status=307, headers={"Location": "/v1beta/models"}, body=""),
    _broken("a deadline", error="deadline"),
    _broken("answered after a deadline", error="deadline", commit=True, paid=True),
    _broken("408", status=408),
    _broken("409", status=409),
    _way("compressed", gzip=True),
    _way("on many lines", body=ON_LINES),
    _way("an empty object", body="{}", bad="empty NO_CANDIDATES"),
    _way("candidates that are a text", body='{"candidates":"x"}', bad="failed UNREADABLE"),
    _way("no candidate", body='{"candidates":[null]}', bad="failed UNREADABLE"),
    _way("content that is a text", body='{"candidates":[{"content":"x"}]}', bad="failed UNREADABLE"),
    _way("parts that are a text", body='{"candidates":[{"content":{"parts":"x"}}]}', bad="failed UNREADABLE"),
    _way("a quota", error="quota"),
    _way("a quota, and when to retry", error="quota", headers={"Retry-After": "38"}),
    _way("a quota of a proxy", status=429, body=PAGE),
    _way("a page with 503", status=503, body=PAGE),
    _way("500", error="internal"),
    _way("a page with 500", status=500, body=PAGE),
    _way("400", status=400, body=REFUSED, bad="failed INVALID_ARGUMENT"),
    _way("a page with 400", status=400, body=PAGE, bad="failed INVALID_ARGUMENT"),
    _way("too large for a proxy", status=413, body=PAGE, bad="failed UNKNOWN_CODE"),
)


def arm(place: Place, fault: Mapping[str, Any]) -> None:
    place.service.faults.arm(**{"operation": "models.generateContent", **fault})


@pytest.mark.parametrize("way", tried(WAYS), ids=lambda way: way.name.replace(" ", "-"))
def test_what_happens_to_one_call(place: Place, way: Way) -> None:
    """It is sent again if there is no answer to it, and counted if it may have been paid for."""
    write(place, {})
    arm(place, way.fault)

    found = worked_off(place, IN_ORDER)

    assert bad(place) == list(way.bad)
    assert found.summary.exit_code == (1 if way.bad else 0)
    assert repeated(place)["doubles"] == way.doubles
    assert sum(job.doubtful for job in jobs_of(place.folder)) == way.doubtful
    assert all(fault["played"] for fault in place.service.faults.armed())


@pytest.mark.parametrize(
    ("fault", "paid"),
    tried(
        [
            ({"drop": "reset"}, 0),
            ({"status": 403, "body": PAGE}, 0),
            ({"body": PAGE}, 2),
            ({"status": 302, "headers": {"Location": "/login"}, "body": ""}, 0),
            ({"error": "deadline"}, 0),
        ]
    ),
)
def test_what_happens_to_every_call(place: Place, fault: dict[str, Any], paid: int) -> None:
    """Each request is sent twice, and then never again by itself."""
    write(place, {})
    arm(place, {**fault, "times": 0})

    found = worked_off(place, IN_ORDER)
    worked_off(place, IN_ORDER)

    assert bad(place) == ["missing NO_ANSWER"] * len(KEYS)
    assert found.summary.exit_code == 5
    assert sum(place.calls.values()) == 2 * len(KEYS)
    assert repeated(place)["paid"] == paid * len(KEYS)
    # Of the two calls of each, the second is the one whose answer is missing.
    assert sum(job.doubtful for job in jobs_of(place.folder)) == len(KEYS)


# What ends a run -----------------------------------------------------------------------------------------------------

ENDS: list[tuple[dict[str, Any], str]] = [
    ({"error": "bad_key"}, "api_key_refused"),
    ({"status": 401, "body": REFUSED.replace("400", "401")}, "api_key_refused"),
    ({"status": 401, "body": PAGE}, "api_key_refused"),
    ({"error": "billing"}, "permission_denied"),
    ({"error": "location"}, "failed_precondition"),
    ({"error": "not_found"}, "not_found"),
    ({"error": "retired"}, "not_found"),
    ({"status": 402, "body": PAGE}, "api_error"),
    ({"status": 407, "body": PAGE}, "proxy_refused"),
    ({"status": 410}, "unknown"),
    ({"error": "overloaded", "times": 0}, "calls_refused"),
]


@pytest.mark.parametrize(("fault", "code"), tried(ENDS))
def test_what_the_service_refuses_for_good_ends_the_run(place: Place, fault: dict[str, Any], code: str) -> None:
    """What was answered is kept, and the next run sends the rest once."""
    write(place, {})
    arm(place, {"skip": 3, **fault})

    with pytest.raises(ServiceError) as caught:
        worked_off(place, IN_ORDER)
    answered = repeated(place)["paid"]
    place.service.faults.clear()
    found = worked_off(place, IN_ORDER)

    assert caught.value.reason_code == code
    assert answered == 3
    assert (bad(place), found.summary.exit_code) == ([], 0)
    assert repeated(place) == {"requests": len(KEYS), "paid": len(KEYS), "doubles": 0, "most": 1}
    assert sum(job.doubtful for job in jobs_of(place.folder)) == 0
