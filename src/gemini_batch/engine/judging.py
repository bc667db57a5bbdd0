"""Turns a raw answer file into rows: every line is parsed, judged and written in one transaction."""

from __future__ import annotations

import hashlib
import io
import sqlite3
from typing import IO, TYPE_CHECKING

from gemini_batch.answers.parse import Answer, parse_generated, parse_line
from gemini_batch.answers.reasons import MODEL_LIMIT
from gemini_batch.answers.verdict import judge
from gemini_batch.catalog import Method
from gemini_batch.engine.asked import Asked
from gemini_batch.events import EventHandler, Transfer
from gemini_batch.jsonl import LongLine, read_all_lines, sha256_of
from gemini_batch.protocol.schema_checker import checker_of
from gemini_batch.store.job_rows import without_limit
from gemini_batch.store.rows.row_records import RequestRow, Wanted, key_hash
from gemini_batch.store.sqlite import state_error

if TYPE_CHECKING:
    from gemini_batch.store.ledger.records import Job, Run
    from gemini_batch.store.rows.answer_writer import AnswerWriter
    from gemini_batch.store.rows.rows import Rows
    from gemini_batch.store.state_folder import RunFolder


#: Progress is reported in steps of this many bytes.
_SHOWN_EVERY = 16 * 1024 * 1024


def judge_file(
    emit: EventHandler, folder: RunFolder, run: Run, job: Job, missing_reason: str, *, stated: str | None = None
) -> int:
    """Judge every line of a raw file and write all verdicts in one transaction; returns the number of lines.

    A lost job has no lines and no file. ``stated``: another model than the one that was asked, if the job states one;
    it counts for answers that name none.
    """
    raw = folder.raw(job.id)
    try:
        absent = job.lost is not None and not raw.exists()
        size, digest = (0, hashlib.sha256().hexdigest()) if absent else (raw.stat().st_size, sha256_of(raw))
        with folder.rows() as rows, io.BytesIO() if absent else raw.open("rb") as file:
            source = rows.begin_answers(
                job.ordinal, job.id, file=raw.name, size=size, sha256=digest, missing_reason=missing_reason
            )
            with source as writer:
                lines = _Judging(rows, writer, run, job, stated=stated).read(file, size, emit)
                if run.requests_known:
                    # All are found before one is changed.
                    writer.explain(list(without_limit(folder, job, writer.cut_off())), MODEL_LIMIT)
                writer.finish(lines)
        return lines
    except (OSError, sqlite3.Error) as error:
        raise state_error(error, folder.path, "run folder") from error


class _Judging:
    """One pass over a raw file."""

    def __init__(self, rows: Rows, writer: AnswerWriter, run: Run, job: Job, *, stated: str | None) -> None:
        self._rows, self._writer, self._job, self._ordinal = rows, writer, job.id, job.ordinal
        self._method = run.method
        self._parse = parse_generated if run.method is Method.GENERATE else parse_line
        self._stated, self._calls = stated, job.via == "flex"
        self._adopting = not run.requests_known
        self._asked = Asked(rows, job.ordinal)
        self._learned = 0

    def read(self, file: IO[bytes], size: int, emit: EventHandler) -> int:
        lines = told = 0
        for line in read_all_lines(file):
            if isinstance(line, LongLine):
                self._writer.quarantine(line.offset, line.length, "TOO_LONG")
            elif line.data.strip():
                self._line(line.offset, line.data, line.number)
            else:
                continue
            lines += 1
            if line.offset - told > _SHOWN_EVERY:
                told = line.offset
                emit(Transfer("judging", line.offset, size, job=self._job))
        emit(Transfer("judging", size, size, job=self._job))
        return lines

    def _line(self, offset: int, data: bytes, number: int) -> None:
        answer = self._parse(data)
        if not isinstance(answer, Answer):
            self._writer.quarantine(offset, len(data), answer.reason)
            return
        key = answer.key
        if key is None:
            self._writer.quarantine(offset, len(data), "NO_KEY")
            return
        wanted = self._learn(key, number) if self._adopting else self._asked.find(key)
        if wanted is None:
            self._writer.quarantine(offset, len(data), "FOREIGN_KEY")
            return
        judged = judge(
            answer,
            method=self._method,
            expects_json=wanted.expects_json,
            checker=checker_of(self._rows.schema(wanted.schema)),
            dimension=wanted.dimension,
        )
        standard = self._calls and answer.tier not in {"", "flex"}
        self._writer.add(wanted, offset, len(data), judged, stated=self._stated, standard=standard)

    def _learn(self, key: str, number: int) -> Wanted:
        """The request of an adopted job, which is known only by its answer."""
        found = self._rows.wanted(key, self._ordinal)
        if found is None:
            found = Wanted(self._learned, expects_json=False, dimension=None, attempt=1)
            self._writer.add_request(RequestRow(self._learned, number, key, key_hash(key), 0, 0, False, None, 0))
            self._learned += 1
        return found
