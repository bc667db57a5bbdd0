"""Takes answers from another run: the answers stay where they are, and this run's rows point to them."""

from __future__ import annotations

import os
from contextlib import closing
from typing import TYPE_CHECKING

from gemini_batch.answers.parse import Answer, parse_line
from gemini_batch.answers.verdict import judge
from gemini_batch.errors import Next, StateError
from gemini_batch.protocol.schema_checker import checker_of
from gemini_batch.store.rows.conditions import RANK, REMEMBERED
from gemini_batch.store.sqlite import explained, state_error, transaction

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Iterator

    from gemini_batch.catalog import Method
    from gemini_batch.store.rows.rows import Rows
    from gemini_batch.store.state_folder import RunFolder

_WHAT = "run's row database"
#: The wanted answers of the attached run, with their files: those that succeeded, and that it holds itself.
_HELD = (
    "CROSS JOIN lender.requests q ON q.seq = f.theirs CROSS JOIN lender.answers a ON a.id = q.answer "
    "AND a.verdict = 'succeeded' AND a.answer_file > 0 CROSS JOIN lender.answer_files s ON s.id = a.answer_file"
)
#: Entries of the index are checked, except those for another model than that of the lender.
_OF = "WHERE f.run = :run AND (NOT :exactly OR coalesce(q.fingerprint, f.fingerprint) = f.fingerprint)"
_COPY = (
    "INSERT INTO answers (seq, answer_file, attempt, offset, length, verdict, usage_known, input, cached, output, "  # noqa: S608 - no value
    "thoughts, tool_use, audio_input, image_output, image_input, video_input, cached_audio, audio_output, searches, "
    "maps, model_version) SELECT f.seq, mine.id, a.attempt, a.offset, "
    "a.length, a.verdict, a.usage_known, a.input, a.cached, a.output, a.thoughts, a.tool_use, a.audio_input, "
    "a.image_output, a.image_input, a.video_input, a.cached_audio, a.audio_output, a.searches, a.maps, "
    f"named.id FROM temp.found f {_HELD} CROSS JOIN answer_files mine ON mine.job = s.job "
    "LEFT JOIN lender.model_versions v ON v.id = a.model_version LEFT JOIN model_versions named ON named.name = v.name "
    f"{_OF} ORDER BY f.seq"
)


def borrow(rows: Rows, lender: RunFolder, number: int, *, method: Method, exactly: bool) -> int:
    """Give the rows of ``temp.found`` under this ``number`` the answers that the lender has; returns how many.

    Where the request asks for JSON, with or without a schema, or for a vector of some length, the answer is judged
    once more. ``exactly``: the
    lender's requests are for the same model. Raises StateError if the lender's answers cannot be read.
    """
    db, wanted = rows.connection, {"run": number, "exactly": int(exactly)}
    with lender.rows() as theirs, explained(rows.path, _WHAT):  # opened, so that it has the current schema
        db.execute("ATTACH CAST(? AS TEXT) AS lender", (os.fsencode(theirs.path),))
        try:
            files = db.execute(f"SELECT DISTINCT s.* FROM temp.found f {_HELD} {_OF}", wanted).fetchall()  # noqa: S608 - no value
            for file in files:
                _check(lender, file)
            _drop_unfit(rows, lender, wanted, method)
            with closing(db.cursor()) as work:
                work.execute("BEGIN")  # only this database is written; the lender's may be, by its own process
                try:
                    count = _copy(work, lender.path.name, wanted, files)
                except BaseException:
                    work.execute("ROLLBACK")
                    raise
                work.execute("COMMIT")
            return count
        finally:
            db.execute("DETACH lender")


def _check(lender: RunFolder, file: sqlite3.Row) -> None:
    """A raw file that is not as it was collected is to be fetched again before anything is paid a second time."""
    path = lender.answers(file["file"])
    try:
        whole = path.stat().st_size == file["bytes"]
    except OSError:
        whole = False
    if not whole:
        why = "fetches them again if the service still has them"
        raise StateError(
            f"Answers to these requests, from an earlier run, are missing or were changed: {path}.",
            file=lender.path,
            code="answers_damaged",
            next=Next("results", lender.path.name, "-o", "results.jsonl", why=why),
        )


def _drop_unfit(rows: Rows, lender: RunFolder, wanted: dict[str, int], method: Method) -> None:
    """Let entries of ``temp.found`` lead nowhere whose answer does not have the form that the request asks for."""
    unfit = [(wanted["run"], seq) for seq in _unfit(rows, lender, wanted, method)]
    rows.connection.executemany("UPDATE temp.found SET theirs = NULL WHERE run = ? AND seq = ?", unfit)


def _unfit(rows: Rows, lender: RunFolder, wanted: dict[str, int], method: Method) -> Iterator[int]:
    sql = (
        "SELECT f.seq, r.expects_json, r.dimension, r.schema, s.file, a.offset, a.length FROM temp.found f "  # noqa: S608 - no value
        "CROSS JOIN main.requests r ON r.seq = f.seq AND (r.expects_json OR r.dimension IS NOT NULL "
        f"OR r.schema IS NOT NULL) {_HELD} {_OF} "
        "ORDER BY s.id, a.offset"
    )
    name, opened = None, None
    try:
        for seq, expects_json, dimension, schema, file, offset, length in rows.connection.execute(sql, wanted):
            if file != name:
                if opened is not None:
                    opened.close()
                name, opened = file, lender.answers(file).open("rb")
            assert opened is not None
            opened.seek(offset)
            answer = parse_line(opened.read(length))
            checker = checker_of(rows.schema(schema))
            if not isinstance(answer, Answer) or (
                judge(
                    answer, method=method, expects_json=bool(expects_json), checker=checker, dimension=dimension
                ).verdict
                != "succeeded"
            ):
                yield seq
    except OSError as error:
        raise state_error(error, lender.path, "answer file") from error
    finally:
        if opened is not None:
            opened.close()


def _copy(db: sqlite3.Cursor, run: str, wanted: dict[str, int], files: list[sqlite3.Row]) -> int:
    last = db.execute("SELECT coalesce(max(id), 0) FROM answers").fetchone()[0]
    for file in files:
        db.execute(
            "INSERT OR IGNORE INTO answer_files (id, job, file, bytes, sha256, lines, missing_reason) "
            "VALUES ((SELECT min(0, coalesce(min(id), 0)) - 1 FROM answer_files), ?, ?, ?, ?, 0, '')",
            (file["job"], f"{run}/{file['file']}", file["bytes"], file["sha256"]),
        )
    db.execute("INSERT OR IGNORE INTO model_versions (name) SELECT name FROM lender.model_versions")
    db.execute(_COPY, wanted)
    taken = db.execute(
        "UPDATE requests SET job = ?, answer = a.id FROM answers a WHERE a.id > ? AND a.seq = requests.seq",
        (REMEMBERED, last),
    )
    return taken.rowcount


def give_back(rows: Rows, files: Iterable[str]) -> None:
    """Let rows wait again whose answers lie in these files of other runs, which are gone or were written anew.

    They are looked up again: the other run may hold its answers once more, at another place.
    """
    best = (
        "SELECT id FROM answers a WHERE a.seq = requests.seq AND a.answer_file <> :file "  # noqa: S608 - no value
        f"ORDER BY {RANK} DESC LIMIT 1"
    )
    with explained(rows.path, _WHAT), transaction(rows.connection) as db:
        for name in files:
            for (number,) in db.execute("SELECT id FROM answer_files WHERE file = ? AND id < 0", (name,)).fetchall():
                db.execute(
                    f"UPDATE requests SET job = CASE job WHEN {REMEMBERED} THEN NULL ELSE job END, answer = ({best}) "  # noqa: S608 - no value
                    "WHERE answer IN (SELECT id FROM answers WHERE answer_file = :file)",
                    {"file": number},
                )
                db.execute("DELETE FROM answers WHERE answer_file = ?", (number,))
                db.execute("DELETE FROM answer_files WHERE id = ?", (number,))
