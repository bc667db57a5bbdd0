"""One row for people: what its header says, and how its texts stand on screens of any width and in pipes."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from gemini_batch import LeftOut, Money, ShownRow, TokenCounts, Turn
from gemini_batch.cli.row_view import SIDE_BY_SIDE, as_text, header, on_screen


def usd(batch: float | None, unknown: tuple[LeftOut, ...] = ()) -> Money:
    twice = None if batch is None else 2 * batch
    return Money(batch=batch, interactive=twice, by_kind={}, wasted={}, unknown=list(unknown), prices=[])


NOTHING = usd(0.0)
TOKENS = TokenCounts(input=1200, cached=0, output=30, thoughts=0, tool_use=0, unknown=0)
PLAIN = ShownRow(
    key="row-1",
    verdict="succeeded",
    reason=None,
    message=None,
    place="answered",
    copied_from=None,
    job="batches/a",
    attempts=1,
    unanswered=0,
    asked="asked-model",
    model="gave-model",
    tokens=TOKENS,
    usd=usd(0.00012),
    emulated=False,
    prompt=[Turn("user", "Why?")],
    answer=[Turn("model", "Because.")],
)
NOT_ANSWERED: dict[str, Any] = {
    "verdict": None,
    "tokens": None,
    "usd": usd(None),
    "model": None,
    "answer": None,
}


def row(**changes: Any) -> ShownRow:
    return msgspec.structs.replace(PLAIN, **changes)


HEADERS: dict[str, tuple[dict[str, Any], list[str]]] = {
    "succeeded": ({}, ["row-1", "succeeded", "1 attempt", "gave-model", "tokens: 1,200 in, 30 out", "$0.00012"]),
    "truncated": (
        {"verdict": "truncated", "reason": "MAX_TOKENS", "attempts": 2},
        ["row-1", "truncated: MAX_TOKENS", "2 attempts", "gave-model", "tokens: 1,200 in, 30 out", "$0.00012"],
    ),
    "no model in the answer": (
        {"model": None},
        ["row-1", "succeeded", "1 attempt", "asked-model", "tokens: 1,200 in, 30 out", "$0.00012"],
    ),
    "no price": (
        {"usd": usd(None)},
        ["row-1", "succeeded", "1 attempt", "gave-model", "tokens: 1,200 in, 30 out", "cost unknown"],
    ),
    "no counts": (
        {
            "tokens": TokenCounts(input=0, cached=0, output=0, thoughts=0, tool_use=0, unknown=1),
            "usd": usd(None),
        },
        ["row-1", "succeeded", "1 attempt", "gave-model", "tokens unknown", "cost unknown"],
    ),
    "a part without a price": (
        {"usd": usd(0.5, (LeftOut(why="price", model="gave-model", kind="audio_input", count=1200),))},
        [
            "row-1",
            "succeeded",
            "1 attempt",
            "gave-model",
            "tokens: 1,200 in, 30 out",
            "at least $0.5",
            "1,200 tokens of audio input by gave-model, without a known price",
        ],
    ),
    "thoughts and tools": (
        {"tokens": TokenCounts(input=1, cached=0, output=0, thoughts=5, tool_use=7, unknown=0)},
        ["row-1", "succeeded", "1 attempt", "gave-model", "tokens: 1 in, 0 out, 5 thoughts, 7 tool use", "$0.00012"],
    ),
    "emulated": (
        {"emulated": True},
        ["row-1", "succeeded", "1 attempt", "gave-model", "tokens: 1,200 in, 30 out", "$0.00012 not paid (offline)"],
    ),
    "emulated without a price": (
        {"emulated": True, "usd": usd(None)},
        ["row-1", "succeeded", "1 attempt", "gave-model", "tokens: 1,200 in, 30 out", "nothing was paid (offline)"],
    ),
    "an attempt without an answer": (
        {"attempts": 2, "unanswered": 1},
        [
            "row-1",
            "succeeded",
            "2 attempts",
            "gave-model",
            "tokens: 1,200 in, 30 out",
            "$0.00012",
            "1 attempt without an answer may have been billed as well",
        ],
    ),
    "missing": (
        {**NOT_ANSWERED, "verdict": "missing", "reason": "NO_LINE", "place": "unanswered", "unanswered": 1},
        [
            "row-1",
            "missing: NO_LINE",
            "1 attempt",
            "asked-model",
            "cost unknown",
            "1 attempt without an answer may have been billed as well",
        ],
    ),
    "not sent": ({**NOT_ANSWERED, "place": "not_sent", "attempts": 0, "job": None}, ["row-1", "not sent yet"]),
    "in a job": (
        {**NOT_ANSWERED, "place": "in_job"},
        ["row-1", "in batches/a, which is alive", "1 attempt", "asked-model"],
    ),
    "not collected": (
        {**NOT_ANSWERED, "place": "not_collected"},
        [
            "row-1",
            "in batches/a, which has ended; its answers are not collected yet",
            "1 attempt",
            "asked-model",
        ],
    ),
    "in doubt": (
        {**NOT_ANSWERED, "place": "in_doubt", "job": None},
        ["row-1", "a create call for it got no answer, so it may have been sent", "1 attempt", "asked-model"],
    ),
    "a call": (
        {**NOT_ANSWERED, "place": "calling", "job": None},
        [
            "row-1",
            "sent as a call, by a command that is running or was stopped; its answer is not collected yet",
            "1 attempt",
            "asked-model",
        ],
    ),
    "failed, and on its way again": (
        {"verdict": "failed", "reason": "INTERNAL", "place": "in_job", "attempts": 2},
        [
            "row-1",
            "failed: INTERNAL",
            "in batches/a, which is alive",
            "2 attempts",
            "gave-model",
            "tokens: 1,200 in, 30 out",
            "$0.00012",
        ],
    ),
    "remembered": (
        {"place": "remembered", "attempts": 0, "tokens": None, "usd": NOTHING},
        ["row-1", "succeeded", "answered before, in another run", "gave-model", "paid for elsewhere"],
    ),
    "a copy": (
        {"place": "copied", "copied_from": "row-0", "attempts": 0, "tokens": None},
        ["row-1", "succeeded", "the same as row-0, whose answer counts", "gave-model", "paid for once"],
    ),
    "elsewhere": (
        {**NOT_ANSWERED, "place": "elsewhere", "attempts": 0, "job": None},
        ["row-1", "in a job of another run, which is alive"],
    ),
    "held back": (
        {**NOT_ANSWERED, "place": "held_back", "attempts": 0, "job": None},
        ["row-1", "left out by --limit or --sample"],
    ),
    "an odd key": ({"key": "a\x1b[31m\nb"}, ["a [31m b", *list(header(PLAIN))[1:]]),
}


@pytest.mark.parametrize(("changes", "parts"), HEADERS.values(), ids=HEADERS)
def test_a_header(changes: dict[str, Any], parts: list[str]) -> None:
    assert list(header(row(**changes))) == parts


def test_every_place_but_an_answer_is_named() -> None:
    places = ShownRow.__annotations__["place"].__args__
    for place in set(places) - {"answered", "unanswered"}:
        assert list(header(row(place=place)))[2] not in list(header(PLAIN)), place


def test_a_pipe_gets_plain_text() -> None:
    shown = row(
        verdict="blocked",
        reason="SAFETY",
        message="Not\nthis.",
        prompt=[Turn("system", "Be brief."), Turn("user", "Why?\nTell me. " + "long " * 50)],
        answer=None,
    )

    assert as_text(shown) == (
        "row-1 · blocked: SAFETY · 1 attempt · gave-model · tokens: 1,200 in, 30 out · $0.00012\n"
        "  Not this.\n"
        "prompt\n"
        "  system:\n"
        "  Be brief.\n"
        "  user:\n"
        "  Why?\n"
        f"  Tell me. {'long ' * 50}\n"
        "answer\n"
        "  (none)\n\n"
    )


def test_side_by_side() -> None:
    shown = on_screen(row(prompt=[Turn("user", "Why?")], answer=[Turn("model", "Because.")]), 100, colours=False)

    assert shown.splitlines()[1:] == ["prompt" + " " * 44 + "answer", "Why?" + " " * 46 + "Because.", ""]


def test_one_below_the_other_on_a_narrow_terminal() -> None:
    shown = on_screen(row(answer=[Turn("thought", "hm"), Turn("model", "Because.")]), SIDE_BY_SIDE - 1, colours=False)

    texts = shown.split("prompt\n")[1]
    assert texts == "  Why?\nanswer\n  thought:\n  hm\n  model:\n  Because.\n\n"


WORDS = {"long words": "x" * 300, "words": "word " * 90, "wide": "日本語" * 90, "brackets": "[bold]a[/] :smile: " * 20}


@pytest.mark.parametrize("text", WORDS.values(), ids=WORDS)
@pytest.mark.parametrize("width", [20, 79, 80, 200])
@pytest.mark.parametrize("colours", [False, True])
def test_no_line_is_wider_than_the_screen_and_nothing_is_lost(text: str, width: int, colours: bool) -> None:
    from rich.cells import cell_len
    from rich.text import Text

    shown = on_screen(row(prompt=[Turn("user", text)], answer=[Turn("model", "")]), width, colours=colours)

    assert ("\x1b" in shown) == colours
    plain = Text.from_ansi(shown).plain
    assert max(map(cell_len, plain.splitlines())) <= width
    left = "".join(plain.split("answer")[0 if width < SIDE_BY_SIDE else 1].split("prompt")[-1].split())
    assert left == "".join(text.split()).replace(" ", "")


@pytest.mark.parametrize("evil", ["\x1b[2J", "\x07", "\u202e", "\x9b31m"])
@pytest.mark.parametrize("field", ["key", "message", "reason", "model", "prompt", "answer", "role"])
@pytest.mark.parametrize("width", [None, 60, 120])
def test_no_control_character_reaches_a_screen(evil: str, field: str, width: int | None) -> None:
    changes: dict[str, Any] = {
        "prompt": {"prompt": [Turn("user", evil)]},
        "answer": {"answer": [Turn("model", evil)]},
        "role": {"prompt": [Turn(evil, "a")]},
    }
    change = changes.get(field, {field: evil})
    one = row(**{"verdict": "failed", "reason": "INTERNAL", "message": "m", **change})

    shown = as_text(one) if width is None else on_screen(one, width, colours=False)

    assert evil not in shown
    assert not any(letter in shown for letter in "\x1b\x07\u202e\x9b")
