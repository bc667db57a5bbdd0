"""Another model answers than the one that was asked: it is named, and its price counts; nothing is guessed."""

from __future__ import annotations

import datetime as dt
import json
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import msgspec
import pytest

from engine.fake import FakeService, answer_line
from engine.steps import work
from gemini_batch import catalog
from gemini_batch.answers.parse import Answer
from gemini_batch.answers.verdict import judge
from gemini_batch.catalog import Method
from gemini_batch.cli.results import summary_lines
from gemini_batch.engine.judging import answer_row
from gemini_batch.store.row_records import RequestRow, Wanted
from gemini_batch.store.rows import Rows

if TYPE_CHECKING:
    from pathlib import Path

#: A day on which prices are known.
DAY = 1_795_300_000.0
ASKED = "gemini-3-flash-preview"
ALIAS = "gemini-flash-latest"
#: Tokens of the six answers of the fake service.
TOKENS = catalog.Tokens(input=6 * 4, output=6 * 2)


def price_of(model: str) -> float | None:
    known = catalog.load().find(model)
    price = known.price_on(dt.datetime.fromtimestamp(DAY, dt.UTC).date()) if known else None
    cost = price.cost(TOKENS) if price else None
    return cost.batch if cost else None


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
        rows.load(RequestRow(n, n + 1, f"k{n}", 0, 0, False, None, 0) for n in range(500))
        with rows.begin_answers(1, "job", file="f", size=0, sha256="", missing_reason="NO_LINE") as writer:
            for n in range(500):
                answer = Answer(f"k{n}", msgspec.json.encode({"modelVersion": f"m{n}"}))
                judged = judge(answer, method=Method.GENERATE)
                writer.add([answer_row(Wanted(n, False, None, 1), 0, 0, judged, None)])
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
