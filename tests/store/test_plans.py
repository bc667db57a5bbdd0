"""What is asked of one job reads the rows of that job, however many the run has."""

from __future__ import annotations

import re
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from gemini_batch.money.limits import RowPrices
from gemini_batch.store.ledger.run_options import Selection
from gemini_batch.store.rows.migrations import ROWS
from gemini_batch.store.rows.row_records import RequestRow, key_hash
from gemini_batch.store.rows.rows import Rows
from gemini_batch.store.sqlite import connect

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


def opened_by_earlier(path: Path) -> None:
    """A database of the version before these indexes, with the one that is made when requests are entered."""
    with closing(connect(path, ROWS[:9], what="rows")) as db:
        db.execute("CREATE INDEX requests_hash ON requests (hash)")


#: A plan that reads a whole table, or a whole index of one. Indexes of exceptions are empty in most runs.
_ALL = re.compile(
    r"SCAN (?!CONSTANT|.* USING (COVERING )?INDEX requests_(without|copies)|.* USING COVERING INDEX requests_job$)"
    r"(?!temp\.|\(|best)"
)
_JOB = 3
PRICES = RowPrices(1, 1, 1, 1, prompt_limit=9, answer_limit=9)
ASKED: dict[str, Callable[[Rows], object]] = {
    "how many it accounts for": lambda rows: rows.accounted(_JOB),
    "how many it answered": lambda rows: rows.answered_in(_JOB),
    "how many it left without a line": lambda rows: rows.without_line(_JOB),
    "how many were stopped": lambda rows: rows.stopped(_JOB),
    "what is to be sent again": lambda rows: rows.leftover(_JOB, reasons=("A",), most=3, most_unanswered=2),
    "what became of its requests": lambda rows: rows.census([_JOB]),
    "how many there are": lambda rows: rows.at(_JOB),
    "what it used": lambda rows: rows.usage(200_000, job=_JOB, by_use=False),
    "what it costs at most": lambda rows: rows.most(PRICES, _JOB),
    "what it may cost without answers": lambda rows: rows.most(PRICES, _JOB, without="answer"),
    "its requests": lambda rows: list(rows.members(_JOB)),
    "its fingerprints": lambda rows: list(rows.fingerprints(_JOB)),
    "its first answers with a reason": lambda rows: rows.answers_with(_JOB, "A", limit=2),
    "what waits": lambda rows: rows.waiting(),
    "what waits and was never sent": lambda rows: rows.never_sent(),
    "what was never sent": lambda rows: rows.unsent([_JOB]),
    "a request by its key": lambda rows: rows.wanted("k1", _JOB),
    "the next requests": lambda rows: rows.wanted_from(0, 9, _JOB),
    "which have no bounds": lambda rows: rows.without_bounds(),
    "sending again": lambda rows: rows.requeue(_JOB, reasons=("A",), most=3, most_unanswered=2),
    "waiting again": lambda rows: rows.release(_JOB),
    "another choice": lambda rows: rows.select(Selection()),
    "copies": lambda rows: rows.answer_copies(),
    "a new job": lambda rows: rows.take(_JOB, requests=2, bytes=99, tokens=None),
}  # fmt: skip


@pytest.fixture(params=["new", "migrated"])
def rows(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Rows]:
    """Requests that wait, and a job with none. SQLite chooses between indexes by their age, too."""
    path = tmp_path / "rows.db"
    if request.param == "migrated":
        opened_by_earlier(path)
    with Rows(path) as opened:
        opened.connection.execute("DELETE FROM requests")
        opened.load(RequestRow(n, n + 1, f"k{n}", key_hash(f"k{n}"), n * 10, 9, False, None, 1) for n in range(3))
        with opened.begin_answers(_JOB, "run-a-3", file="a", size=1, sha256="", missing_reason="") as answers:
            answers.finish(0)
        yield opened


@pytest.mark.parametrize("what", ASKED)
def test_it_reads_the_rows_of_one_job(rows: Rows, what: str) -> None:
    asked: list[str] = []
    rows.connection.set_trace_callback(asked.append)
    ASKED[what](rows)
    rows.connection.set_trace_callback(None)

    statements = [one for one in asked if not one.startswith(("BEGIN", "COMMIT", "SELECT DISTINCT job"))]
    plans = [(one, row["detail"]) for one in statements for row in rows.connection.execute(f"EXPLAIN QUERY PLAN {one}")]

    assert statements
    assert [found for found in plans if _ALL.match(found[1])] == []


def test_an_answer_of_one_job_is_found_by_its_request(rows: Rows) -> None:
    """By both together: there may be many answers of the job, and there are few to the request."""
    asked: list[str] = []
    rows.connection.set_trace_callback(asked.append)
    rows.without_line(_JOB)
    rows.connection.set_trace_callback(None)

    plan = [row["detail"] for row in rows.connection.execute(f"EXPLAIN QUERY PLAN {asked[-1]}")]

    assert any("answers_seq (seq=? AND answer_file=?)" in step for step in plan)


def test_a_request_is_found_by_its_key(rows: Rows) -> None:
    """Not among all of its job."""
    asked: list[str] = []
    rows.connection.set_trace_callback(asked.append)
    rows.wanted("k1", _JOB)
    rows.connection.set_trace_callback(None)

    plan = [row["detail"] for row in rows.connection.execute(f"EXPLAIN QUERY PLAN {asked[-1]}")]

    assert plan == ["SEARCH requests USING INDEX requests_hash (hash=?)"]


def test_what_one_job_of_several_used(rows: Rows) -> None:
    """Its requests are in a table of their own, which is found by number."""
    rows.narrow(_JOB, offset=0, size=100)
    asked: list[str] = []
    rows.connection.set_trace_callback(asked.append)
    rows.usage(200_000)
    rows.connection.set_trace_callback(None)

    plan = [row["detail"] for row in rows.connection.execute(f"EXPLAIN QUERY PLAN {asked[-1]}")]

    assert [step for step in plan if _ALL.match(step)] == []
