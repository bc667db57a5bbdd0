"""Reads the answers of a job: lines are parsed and judged block by block, and all verdicts are written together."""

from __future__ import annotations

import functools
import hashlib
import os
import pickle
import sqlite3
from array import array
from contextlib import ExitStack, closing
from tempfile import SpooledTemporaryFile
from typing import IO, TYPE_CHECKING, Any, NamedTuple, Self

from gemini_batch import workers
from gemini_batch.answers.parse import Answer, parse_generated, parse_line
from gemini_batch.answers.reasons import MODEL_LIMIT
from gemini_batch.answers.verdict import judge
from gemini_batch.blocks import Block, blocks, opened
from gemini_batch.catalog import Method
from gemini_batch.engine.asked import Asked
from gemini_batch.events import EventHandler, Transfer
from gemini_batch.jsonl import LongLine, read_all_lines, sha256_of
from gemini_batch.protocol.schema_checker import checker_of
from gemini_batch.store.job_rows import open_rows, without_limit
from gemini_batch.store.rows.answer_writer import entry
from gemini_batch.store.rows.row_records import RequestRow, Wanted, key_hash
from gemini_batch.store.sqlite import state_error
from gemini_batch.workers import in_order

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator
    from pathlib import Path

    from gemini_batch.store.ledger.records import Job, Run
    from gemini_batch.store.rows.answer_writer import AnswerWriter
    from gemini_batch.store.rows.rows import Rows
    from gemini_batch.store.state_folder import RunFolder


#: Progress is reported in steps of this many bytes.
_SHOWN_EVERY = 16 * 1024 * 1024
#: So many bytes of what was judged of a download are held in memory.
_IN_MEMORY = 8 * 1024 * 1024
#: What is judged of an adopted job, of whose requests nothing is known.
_UNKNOWN = Wanted(0, expects_json=False, dimension=None, attempt=1)


class Judged(NamedTuple):
    """What a block of answers holds, up to the offset ``end``.

    ``numbered``: its lines, ``lines``: those that are not blank. ``requests``: the ``seq`` of the request of each
    answer; of an adopted job with unknown requests, none. ``keyless``: lines that may be the answer of a request but do
    not say of which; ``remains``: some of them look like a result. ``damaged``: lines that are not JSON.
    ``has_answers``: a line has a key. ``found``: a :class:`Found`, pickled, which is of use only once it is certain
    that the file counts.
    """

    end: int
    numbered: int
    lines: int
    requests: array[int]
    keyless: int
    remains: bool
    damaged: int
    has_answers: bool
    found: bytes


class Found(NamedTuple):
    """What was found in a block.

    ``answers``: entries (:func:`~gemini_batch.store.rows.answer_writer.entry`), in the order of ``Judged.requests``.
    ``strays``: offset, length and reason of each line that belongs to no request. ``keys``: of an adopted job with
    unknown requests, the key and the number of the line of each answer.
    """

    answers: list[tuple[Any, ...]]
    strays: list[tuple[int, int, str]]
    keys: list[tuple[str, int]]


class Judge:
    """Judges blocks of the answers of a job. ``rows``: its requests; without them, nothing is known of them.

    A worker opens the same rows itself; ``narrowed``: as :func:`~gemini_batch.store.job_rows.open_rows` shows one job.
    """

    def __init__(self, folder: RunFolder, run: Run, job: Job, rows: Rows | None, *, narrowed: bool = False) -> None:
        self._folder, self._run, self._job, self._narrowed = folder, run, job, narrowed
        self._parse = parse_generated if run.method is Method.GENERATE else parse_line
        self._calls = job.via == "flex"
        self._rows, self._asked = rows, None if rows is None else Asked(rows, job.ordinal)

    def __reduce__(self) -> tuple[Any, ...]:
        return _elsewhere, (self._folder, self._run, self._job, self._rows is not None, self._narrowed)

    def read(self, file: IO[bytes]) -> Generator[Judged]:
        """Judge a file, with the help of workers if it is large. Raises OSError, sqlite3.Error, StateError."""
        if self._rows is not None:
            self._rows.index_keys()
        source = file.fileno()
        size = os.fstat(source).st_size
        work = functools.partial(self.block, source)
        return in_order(work, blocks(source, size), workers=workers.worth(size), files=[source])

    def block(self, source: int, block: Block) -> Judged:
        """Judge a block of the open file ``source``. Raises OSError, sqlite3.Error."""
        found, requests = Found([], [], []), array("q")
        number = lines = keyless = damaged = 0
        remains = has_answers = False
        for line in read_all_lines(opened(source, block)):
            number = line.number
            offset = block.offset + line.offset
            if isinstance(line, LongLine):
                found.strays.append((offset, line.length, "TOO_LONG"))
                lines, keyless, remains = lines + 1, keyless + 1, True
                continue
            if not line.data.strip():
                continue
            lines += 1
            answer = self._parse(line.data)
            if isinstance(answer, Answer):
                has_answers = True
                wanted = self._asked.find(answer.key, labelled=answer.labelled) if self._asked is not None else _UNKNOWN
                if wanted is None:
                    found.strays.append((offset, len(line.data), "FOREIGN_KEY"))
                    continue
                found.answers.append(self._judged(answer, wanted, offset, len(line.data)))
                if self._asked is None:
                    found.keys.append((answer.key, number))
                else:
                    requests.append(wanted.seq)
                continue
            found.strays.append((offset, len(line.data), answer.reason))
            keyless += answer.reason != "NOT_AN_OBJECT"
            damaged += answer.reason in {"NOT_JSON", "NOT_UTF8"}
            if answer.reason in {"NO_KEY", "KEY_NOT_TEXT"} or line.data.lstrip().startswith(b"{"):
                remains = True  # a truncated line that begins as an object: no web page begins that way
        end = block.offset + block.size
        return Judged(end, number, lines, requests, keyless, remains, damaged, has_answers, pickle.dumps(found))

    def _judged(self, answer: Answer, wanted: Wanted, offset: int, length: int) -> tuple[Any, ...]:
        schema = None if self._rows is None else self._rows.schema(wanted.schema)
        judged = judge(
            answer,
            method=self._run.method,
            expects_json=wanted.expects_json,
            checker=checker_of(schema),
            dimension=wanted.dimension,
        )
        standard = self._calls and answer.tier not in {"", "flex"}
        return entry(judged, wanted.attempt, offset, length, standard=standard)


#: What a worker has open until it ends.
_open = ExitStack()


def _elsewhere(folder: RunFolder, run: Run, job: Job, known: bool, narrowed: bool) -> Judge:
    opening = open_rows(folder, [job], only=job) if narrowed else folder.rows()
    return Judge(folder, run, job, _open.enter_context(opening) if known else None, narrowed=narrowed)


class Kept:
    """What was judged of a download, until it is written; lost if this process ends. Use as a context manager."""

    def __init__(self, folder: Path) -> None:
        self._file = SpooledTemporaryFile(_IN_MEMORY, dir=str(folder))  # noqa: SIM115 - closed at the end
        self._is_whole = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def clear(self) -> None:
        """Forget it: the file was changed, or is read again."""
        self._is_whole = False
        self._file.seek(0)
        self._file.truncate()

    def passing(self, judged: Iterable[Judged]) -> Iterator[Judged]:
        """The same; once all of it was passed on, it is kept. Raises OSError."""
        self.clear()
        for one in judged:
            pickle.dump(one, self._file)
            yield one
        self._is_whole = True

    def read(self) -> Generator[Judged] | None:
        """All of it; None if there is nothing."""
        return self._read() if self._is_whole else None

    def _read(self) -> Generator[Judged]:
        self._file.seek(0)
        while True:
            try:
                yield pickle.load(self._file)  # noqa: S301 - our own, in a file without a name
            except EOFError:
                return


def judge_file(
    emit: EventHandler,
    folder: RunFolder,
    run: Run,
    job: Job,
    missing_reason: str,
    *,
    stated: str | None = None,
    kept: Kept | None = None,
) -> int:
    """Judge every line of a raw file and write all verdicts in one transaction; returns the number of lines.

    A lost job has no lines and no file. ``stated``: another model than the one that was asked, if the job states one;
    it counts for answers that name none. ``kept``: what was judged of the file when it was downloaded.
    """
    raw = folder.raw(job.id)
    try:
        absent = job.lost is not None and not raw.exists()
        size, digest = (0, hashlib.sha256().hexdigest()) if absent else (raw.stat().st_size, sha256_of(raw))
        with ExitStack() as stack:
            rows = stack.enter_context(folder.rows())
            writer = stack.enter_context(
                rows.begin_answers(
                    job.ordinal, job.id, file=raw.name, size=size, sha256=digest, missing_reason=missing_reason
                )
            )
            read = None if kept is None else kept.read()
            if read is None and not absent:
                judging = Judge(folder, run, job, rows if run.requests_known else None)
                read = judging.read(stack.enter_context(raw.open("rb")))
            entering = _Entering(rows, writer, job, stated)
            if read is not None:
                told = 0
                for judged in stack.enter_context(closing(read)):
                    entering.enter(judged)
                    if judged.end - told > _SHOWN_EVERY:
                        told = judged.end
                        emit(Transfer("judging", told, size, job=job.id))
            emit(Transfer("judging", size, size, job=job.id))
            if run.requests_known:
                # All are found before one is changed.
                writer.explain(list(without_limit(folder, job, writer.cut_off())), MODEL_LIMIT)
            writer.finish(entering.lines)
        return entering.lines
    except (OSError, sqlite3.Error) as error:
        raise state_error(error, folder.path, "run folder") from error


class _Entering:
    """Writes what was judged; ``lines`` counts it."""

    def __init__(self, rows: Rows, writer: AnswerWriter, job: Job, stated: str | None) -> None:
        self._rows, self._writer, self._job, self._stated = rows, writer, job, stated
        self.lines = self._numbered = self._learned = 0

    def enter(self, judged: Judged) -> None:
        """Write a block. Raises sqlite3.Error."""
        found: Found = pickle.loads(judged.found)  # noqa: S301 - from this process, or a worker of ours
        requests = [self._learn(key, self._numbered + number) for key, number in found.keys] or judged.requests
        for seq, answer in zip(requests, found.answers, strict=True):
            self._writer.add(seq, answer, stated=self._stated)
        for stray in found.strays:
            self._writer.quarantine(*stray)
        self.lines += judged.lines
        self._numbered += judged.numbered

    def _learn(self, key: str, number: int) -> int:
        """The request of an adopted job, which is known only by its answer."""
        found = self._rows.wanted(key, self._job.ordinal)
        if found is not None:
            return found.seq
        self._learned += 1
        self._writer.add_request(RequestRow(self._learned - 1, number, key, key_hash(key), 0, 0, False, None, 0))
        return self._learned - 1
