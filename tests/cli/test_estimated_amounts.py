"""Whatever requests are charged for, an estimate holds what they then cost: a range after a trial, a bound before.

Each kind of charge is a case: text, thoughts, pictures that are made, documents, searches, prompts at the long rate.
"""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from cli.conftest import Shell

COUNT, TRIAL = 11, 5


def body(*parts: dict[str, Any], **rest: Any) -> dict[str, Any]:
    return {"contents": [{"parts": list(parts)}], **rest}


def text(number: int, words: int = 12) -> dict[str, Any]:
    return {"text": f"{number} {'word ' * words}"}


def document(number: int) -> dict[str, Any]:
    data = base64.b64encode(b"%PDF-1.4 " + b"x" * (200 + number % 3)).decode()
    return {"inlineData": {"mimeType": "application/pdf", "data": data}}


def searches(number: int) -> dict[str, Any]:
    return body(text(number), tools=[{"google_search": {}}], generationConfig={"maxOutputTokens": 900})


#: By name: the model, the request of a number, and whether tokens bound what it costs.
CASES: dict[str, tuple[str, Callable[[int], dict[str, Any]], bool]] = {
    "text": ("gemini-3-flash-preview", lambda n: body(text(n), generationConfig={"maxOutputTokens": 900}), True),
    "drawings": (
        "gemini-3.1-flash-image",
        lambda n: body(text(n), generationConfig={"responseModalities": ["IMAGE"]}),
        False,
    ),
    "documents": (
        "gemini-3-flash-preview",
        lambda n: body(document(n), text(n), generationConfig={"maxOutputTokens": 900}),
        True,
    ),
    "searches": ("gemini-3-flash-preview", searches, False),
    "searches, paid by prompt": ("gemini-2.5-flash", searches, False),
    "long prompts": (
        "gemini-2.5-pro",
        lambda n: body(text(n, 180_000), generationConfig={"maxOutputTokens": 900}),
        True,
    ),
    "two answers": (
        "gemini-2.5-flash",
        lambda n: body(text(n), generationConfig={"maxOutputTokens": 900, "candidateCount": 2}),
        False,
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_an_estimate_holds_what_is_then_paid(shell: Shell, case: str) -> None:
    model, make, bounded = CASES[case]
    shell.write("in.jsonl", *({"key": str(number), "request": make(number)} for number in range(COUNT)))
    options = ("in.jsonl", "-m", model, "--offline")

    def estimated() -> dict[str, Any]:
        found: dict[str, Any] = json.loads(shell.run("estimate", *options, "--json").out)["result"]
        return found

    def paid() -> float:
        done = shell.run("run", *options, *limit, "-o", "out.jsonl", "--json")
        amount: float = json.loads(done.out.splitlines()[-1])["result"]["usd"]["batch"]
        return amount

    before = estimated()
    limit = ["--limit", str(TRIAL)]
    trial = paid()
    after = estimated()
    limit = []
    whole = paid()

    assert before["usd"]["expected"] is None
    assert before["usd"]["low"] <= whole
    assert (before["usd"]["high"] is not None) is bounded
    assert before["usd"]["high"] is None or before["usd"]["high"] >= whole
    assert after["answers_known"] == TRIAL
    assert after["unknown_media"] == 0
    rest = whole - trial
    assert after["usd"]["expected"] == pytest.approx(rest, rel=0.3)
    assert after["usd"]["low"] * 0.9 <= rest <= after["usd"]["high"] * 1.1
    assert after["interactive_usd"] > after["usd"]["expected"]
    assert (after["charges_usd"] > 0.9 * after["usd"]["expected"]) is case.startswith("searches")


def test_searches_that_are_expected_count_before_they_are_sent(shell: Shell) -> None:
    """Nothing bounds them, so they need leave; what they are expected to cost is compared with the limit."""
    shell.write("in.jsonl", *({"key": str(number), "request": searches(number)} for number in range(COUNT)))
    shell.run("run", "in.jsonl", "--offline", "--limit", str(TRIAL), "-o", "out.jsonl")
    options = ("run", "in.jsonl", "--offline", "--max-usd-unknown", "allow", "-o", "out.jsonl")

    for _ in range(2):  # a command that was refused is refused again
        done = shell.run(*options, "--max-usd", "0.1", "--json")
        assert done.code == 2
        assert json.loads(done.out.splitlines()[-1])["error"]["code"] == "over_budget"
    assert shell.run(*options, "--max-usd", "1").code == 0
