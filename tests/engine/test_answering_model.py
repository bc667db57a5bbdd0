"""Another model answers than the one that was asked: it is named, and its price counts; nothing is guessed."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from engine.fake import FakeService, FakeSession, answer_line
from engine.steps import sentences, work
from gemini_batch.answers.parse import Answer
from gemini_batch.answers.usage import Usage
from gemini_batch.answers.verdict import judge
from gemini_batch.catalog import Method
from gemini_batch.cli.results import summary_lines
from gemini_batch.commands.create import create
from gemini_batch.commands.results import results
from gemini_batch.commands.status import status
from gemini_batch.events import Notice
from gemini_batch.intake.submission import Submission
from gemini_batch.money.costs import cost
from gemini_batch.store.ledger.run_options import RunOptions
from gemini_batch.store.rows.answer_writer import entry
from gemini_batch.store.rows.row_records import RequestRow, key_hash
from gemini_batch.store.rows.rows import Rows

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from gemini_batch.events import Event

#: A day on which prices are known.
DAY = 1_795_300_000.0
ASKED = "gemini-3-flash-preview"
ALIAS = "gemini-flash-latest"
#: Tokens of the six answers of the fake service.
TOKENS = Usage(input=6 * 4, output=6 * 2, known=True)


def price_of(model: str) -> float | None:
    exact = cost(TOKENS, model, dt.datetime.fromtimestamp(DAY, dt.UTC).date()).exact
    return None if exact is None else float(exact)


@pytest.mark.parametrize(
    ("asked", "stated", "named", "priced"),
    [
        (ASKED, None, None, ASKED),
        (ASKED, "", None, ASKED),
        (ASKED, 7, None, ASKED),
        (ASKED, ASKED, None, ASKED),
        (ASKED, f"models/{ASKED}", None, ASKED),
        (ASKED, f"{ASKED}-12-2026", None, ASKED),
        (ASKED, "gemini-3.8-flash", "gemini-3.8-flash", "gemini-3.8-flash"),
        (ASKED, "gemini-99-ultra", "gemini-99-ultra", None),
        (ASKED, "gemini-99\u001b[31m\ud800", "gemini-99 [31m\ufffd", None),
        (ASKED, f"{ASKED}@offline", None, ASKED),
        (ASKED, "sorting-1@offline", None, ASKED),
        (ASKED, "x" * 300, "?", None),
        (ALIAS, None, None, None),
        (ALIAS, ALIAS, None, None),
        (ALIAS, "gemini-3.8-flash", "gemini-3.8-flash", "gemini-3.8-flash"),
        (ALIAS, "gemini-99-ultra", "gemini-99-ultra", None),
    ],
)
def test_the_model_that_answers(
    service: FakeService, tmp_path: Path, asked: str, stated: object, named: str | None, priced: str | None
) -> None:
    service.clock.now = DAY
    word = json.dumps(stated).encode()
    service.answer_at = lambda key, attempt: answer_line(key, "STATED").replace(b'"STATED"', word)

    summary = work(service, tmp_path, model=asked).summary

    assert summary.verdicts == {"succeeded": 6}
    assert [(one.model, one.asked, one.answers) for one in summary.answered_by] == (
        [(named, asked, 6)] if named else []
    )
    expected = None if priced is None else price_of(priced)
    assert (priced is None) == (expected is None)
    assert summary.usd.batch == (None if expected is None else pytest.approx(expected))
    words = "\n".join(summary_lines(summary, None))
    assert (f"6 answers by {named}; {asked} was asked" in words) is (named is not None)
    assert ("cost: unknown" in words) is (priced is None)


@pytest.mark.parametrize(
    ("asked", "stated", "is_another"),
    [
        (ASKED, None, False),
        (ASKED, f"{ASKED}-12-2026", False),
        (ASKED, "gemini-3.8-flash", True),
        (ASKED, "gemini-99-ultra", True),
        (ALIAS, "gemini-3.8-flash", False),
        ("nano-banana-pro-preview", "gemini-3-pro-image", False),
        ("gemini-3-pro-image", "nano-banana-pro-preview", False),
        ("nano-banana-pro-preview", "gemini-3.8-flash", True),
    ],
)
@pytest.mark.parametrize("answers", ["name none", "name the asked one"])
def test_a_job_that_states_another_model_is_named_once_by_every_command(
    service: FakeService, tmp_path: Path, asked: str, stated: str | None, answers: str, *, is_another: bool
) -> None:
    """The job reads our file, so it is ours. Its model is the answers' model only where they name none."""
    service.clock.now, service.states, service.polls_to_end = DAY, stated, 3
    name = None if answers == "name none" else asked
    service.answer_at = lambda key, attempt: answer_line(key, name)
    said = f"batches/job0 was created for {asked}, but the service states {stated}."
    heard: dict[str, list[Event]] = {}

    async def whole() -> Any:
        order = Submission(source=tmp_path / "in.jsonl", model=asked)
        found: Any = None
        steps: dict[str, Callable[[FakeSession], Awaitable[Any]]] = {
            "create": lambda s: create(s, order),
            "status": lambda s: status(s, "batches/job0"),
            "wait": lambda s: status(s, "batches/job0", wait=True),
            "results": lambda s: results(s, "batches/job0"),
        }
        for step, do in steps.items():
            async with FakeSession(service, tmp_path / "home") as session:
                found = await do(session)
                heard[step] = session.events
        return found

    summary = asyncio.run(whole()).summary

    for step, events in heard.items():
        warned = [one for one in events if isinstance(one, Notice) and one.message == said]
        assert len(warned) == is_another, step
        assert all(one.level == "warning" for one in warned)
    other = stated if is_another and name is None else None
    assert [(one.model, one.asked, one.answers) for one in summary.answered_by] == (
        [(other, asked, 6)] if other else []
    )
    expected = price_of(other or asked)
    assert summary.usd.batch == (None if expected is None else pytest.approx(expected))


def test_run_names_it_once(service: FakeService, tmp_path: Path) -> None:
    service.clock.now, service.states, service.polls_to_end = DAY, "gemini-3.8-flash", 5
    heard: list[Event] = []

    summary = work(service, tmp_path, options=RunOptions(), heard=heard).summary

    said = f"batches/job0 was created for {ASKED}, but the service states gemini-3.8-flash."
    assert sentences(heard).count(said) == 1
    assert summary.usd.batch == pytest.approx(price_of("gemini-3.8-flash"))


def test_rows_that_failed_are_no_answers_of_the_stated_model(service: FakeService, tmp_path: Path) -> None:
    service.clock.now, service.states = DAY, "gemini-3.8-flash"
    service.answer = lambda key: b'{"error": {"code": 3, "message": "bad"}, "key": "%s"}' % key.encode()

    assert work(service, tmp_path).summary.answered_by == []


def test_each_answer_is_priced_by_its_own_model(service: FakeService, tmp_path: Path) -> None:
    """Also where one file has answers of several models, and where another model was asked later."""
    service.clock.now = DAY
    service.answer_at = lambda key, attempt: answer_line(key, "gemini-3.8-flash" if key in {"k1", "k2"} else ASKED)

    summary = work(service, tmp_path).summary

    assert [(one.model, one.answers) for one in summary.answered_by] == [("gemini-3.8-flash", 2)]
    mine, other = price_of(ASKED), price_of("gemini-3.8-flash")
    assert mine
    assert other
    assert mine != other
    assert summary.usd.batch == pytest.approx(mine * 4 / 6 + other * 2 / 6)


def test_any_number_of_names(tmp_path: Path) -> None:
    """The names that are kept for a run are bounded, however many the answers give."""
    with closing(Rows(tmp_path / "rows.db")) as rows:
        rows.load(RequestRow(n, n + 1, f"k{n}", key_hash(f"k{n}"), 0, 0, False, None, 0) for n in range(500))
        with rows.begin_answers(1, "job", file="f", size=0, sha256="", missing_reason="NO_LINE") as writer:
            for n in range(500):
                answer = Answer(f"k{n}", msgspec.json.encode({"modelVersion": f"m{n}"}))
                judged = judge(answer, method=Method.GENERATE)
                writer.add(n, entry(judged, 1, 0, 0, standard=False), stated=None)
            writer.finish(500)
        counts = {row["model"]: row["answers"] for row in rows.usage(200_000)}

    assert len(counts) == 101
    assert counts["?"] == 400


def test_answers_kept_by_an_earlier_version_name_no_model(service: FakeService, tmp_path: Path) -> None:
    """They count as answers of the model that was asked, as they did."""
    service.clock.now = DAY
    service.answer_at = lambda key, attempt: answer_line(key, "gemini-3.8-flash")
    first = work(service, tmp_path).summary
    with closing(sqlite3.connect(tmp_path / "home" / "runs" / first.run / "rows.db")) as db:
        db.execute("UPDATE answers SET model_version = NULL")
        db.commit()

    summary = work(service, tmp_path, first.run, None).summary

    assert summary.answered_by == []
    assert summary.usd.batch == pytest.approx(price_of(ASKED))
