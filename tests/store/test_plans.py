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


def planned(rows: Rows, ask: Callable[[Rows], object]) -> list[tuple[str, str]]:
    """The statements of a question, each with the steps of its plan."""
    asked: list[str] = []
    rows.connection.set_trace_callback(asked.append)
    ask(rows)
    rows.connection.set_trace_callback(None)
    statements = [one for one in asked if not one.startswith(("BEGIN", "COMMIT", "SELECT DISTINCT job"))]
    return [(one, row["detail"]) for one in statements for row in rows.connection.execute(f"EXPLAIN QUERY PLAN {one}")]


@pytest.mark.parametrize("what", ASKED)
def test_it_reads_the_rows_of_one_job(rows: Rows, what: str) -> None:
    plan = planned(rows, ASKED[what])
    assert plan
    assert [found for found in plan if _ALL.match(found[1])] == []


def test_an_answer_of_one_job_is_found_by_its_request(rows: Rows) -> None:
    """By both together: there may be many answers of the job, and there are few to the request."""
    plan = planned(rows, lambda rows: rows.without_line(_JOB))
    assert any("answers_seq (seq=? AND answer_file=?)" in step for _, step in plan)


def test_a_request_is_found_by_its_key(rows: Rows) -> None:
    """Not among all of its job."""
    plan = planned(rows, lambda rows: rows.wanted("k1", _JOB))
    assert [step for _, step in plan] == ["SEARCH requests USING INDEX requests_hash (hash=?)"]


def test_what_waits_has_no_index_of_keys(tmp_path: Path) -> None:
    """It would take as much room as a fifth of the rest, as long as the service works."""
    path = tmp_path / "rows.db"
    with Rows(path) as rows:
        db = rows.connection
        rows.load(RequestRow(n, n + 1, f"k{n}", key_hash(f"k{n}"), n * 10, 9, False, None, 1) for n in range(30_000))
        assert db.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
        assert not path.with_name("rows.db-wal").exists()

        def indexes() -> set[str]:
            return {name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'index'")}

        assert "requests_hash" not in indexes()
        with rows.begin_answers(_JOB, "run-a-3", file="a", size=1, sha256="", missing_reason="") as answers:
            answers.finish(0)
        assert "requests_hash" in indexes()


def test_keys_are_found_all_at_once(tmp_path: Path) -> None:
    with Rows(tmp_path / "rows.db") as rows:
        rows.load(RequestRow(n, n + 1, f"k{n}", key_hash(f"k{n}"), n * 10, 9, False, None, 1) for n in range(9))
        rows.connection.execute("UPDATE requests SET attempts = 1")
        asked: list[str] = []
        rows.connection.set_trace_callback(asked.append)
        assert rows.take_back(_JOB, offset=0, size=0, keys=["k1", "k7", "k7", "other"]) == 2
        assert sum("FROM requests" in one for one in asked) == 1
        assert [row["seq"] for row in rows.connection.execute("SELECT seq FROM requests WHERE job = 3")] == [1, 7]


def test_what_one_job_of_several_used(rows: Rows) -> None:
    """Its requests are in a table of their own, which is found by number."""
    rows.narrow(_JOB, offset=0, size=100)
    plan = planned(rows, lambda rows: rows.usage(200_000))
    assert plan
    assert [step for _, step in plan if _ALL.match(step)] == []
