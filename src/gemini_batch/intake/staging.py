"""Turns the user's file into a run's own requests, in one pass that validates, copies, hashes and indexes.

The original is only read. The copy is canonical: UTF-8, ``\\n``, no BOM, no blank lines; otherwise the bytes of each
line are unchanged.
"""

from __future__ import annotations

import functools
import hashlib
import os
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import islice
from typing import IO, TYPE_CHECKING

from gemini_batch import workers
from gemini_batch.blocks import blocks, content
from gemini_batch.catalog import Method
from gemini_batch.errors import InvalidInput, Problem, UsageError
from gemini_batch.events import EventHandler, Transfer, ignore_events
from gemini_batch.intake.attachment_list import list_attachments
from gemini_batch.intake.checking import Check, Found, check_block
from gemini_batch.jsonl import private_open
from gemini_batch.store.rows.row_records import RequestRow
from gemini_batch.store.sqlite import state_error
from gemini_batch.validation.conform import Terms
from gemini_batch.validation.inputfile import check_file, check_unchanged
from gemini_batch.validation.repairs import FIX, fixed, for_file
from gemini_batch.workers import in_order

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator
    from pathlib import Path

    from gemini_batch.memory.fingerprint import Origin
    from gemini_batch.store.state_folder import RunFolder
    from gemini_batch.tables.making.attachments import Stored

    CanSee = Callable[[str], bool]

#: Problems kept for the report; more are only counted, so that millions of wrong lines take little memory.
KEPT_PROBLEMS = 10_000
_TELL_EVERY = 16 * 1024 * 1024
_NO_TERMS = Terms()


@dataclass(frozen=True, slots=True, kw_only=True)
class Staged:
    """A validated set of requests in a run folder; ``bytes`` and ``sha256`` describe the canonical file.

    ``modalities``: what generation requests ask for besides text (``AUDIO``, ``IMAGE``). ``traits``: what embedding
    requests contain (``taskType``, ``media``). ``owned``: a request names a resource of the project. ``unseen``:
    requests with files or caches that ``can_see`` does not know.
    """

    requests: int
    bytes: int
    sha256: str
    tokens: int
    modalities: frozenset[str]
    traits: frozenset[str]
    method: Method
    warnings: tuple[Problem, ...]
    warning_count: int
    owned: bool = False
    unseen: Unseen | None = None


@dataclass(slots=True)
class Unseen:
    """Requests with files or caches that cannot be seen from here: how many, the first one's key, and the URI in it."""

    key: str
    uri: str
    requests: int = 0


class _Findings:
    """Collects problems in bounded memory."""

    def __init__(self) -> None:
        self.errors: list[Problem] = []
        self.warnings: list[Problem] = []
        self.error_count = 0
        self.warning_count = 0

    def add(self, problem: Problem) -> None:
        if problem.severity == "error":
            self.error_count += 1
            kept = self.errors
        else:
            self.warning_count += 1
            kept = self.warnings
        if len(kept) < KEPT_PROBLEMS:
            kept.append(problem)


class _Pass:
    """One pass over the file; collects the facts for :class:`Staged` while the rows are loaded."""

    def __init__(
        self, source: IO[bytes], sink: IO[bytes], check: Check, *, can_see: CanSee | None, emit: EventHandler
    ) -> None:
        self.sink, self.hash = sink, hashlib.sha256()
        self._source, self._check, self._can_see, self._emit = source.fileno(), check, can_see, emit
        self.unseen: Unseen | None = None
        self.findings = _Findings()
        self.requests = 0
        self.bytes = 0
        self.tokens = 0
        self.modalities: set[str] = set()
        self.traits: set[str] = set()
        self.owned = False
        self.method: Method | None = None
        self._lines = self._rows = self.first_line = 0

    def rows(self, size: int, limit: int | None) -> Iterator[RequestRow]:
        """Each valid line of the first ``size`` bytes as a row, at most ``limit``; invalid lines become findings."""
        told = 0

        def left() -> int | None:
            return None if limit is None else limit - self.requests - self.findings.error_count

        # With a limit, what is to be checked depends on what was found before.
        helping = 0 if limit is not None else workers.worth(size)
        todo = ((block, left()) for block in blocks(self._source, size))
        work = functools.partial(check_block, self._check, self._source)
        with closing(in_order(work, todo, workers=helping, files=[self._source])) as checked:
            for found in checked:
                yield from self._taken(found)
                if not found.more:
                    break
                if found.block.offset - told >= _TELL_EVERY:
                    told = found.block.offset
                    self._emit(Transfer("reading", told, size))

    def _taken(self, found: Found) -> Iterator[RequestRow]:
        """Take what was found in the next block."""
        before, offset = self._lines, self.bytes
        for problem in found.problems:
            self.findings.add(replace(problem, line=(problem.line or 0) + before))
        for values, method in zip(found.rows, found.methods, strict=True):
            if method is not self.method and method is not None and not self._is_one_kind(method, before + values[0]):
                continue
            line, key, hashed, place, *rest = values
            yield RequestRow(self._rows, before + line, key, hashed, offset + place, *rest)
            self._rows += 1
        kept = content(self._source, found.block) if found.content is None else found.content
        self.hash.update(kept)
        self.sink.write(kept)
        self._lines += found.lines
        self.bytes += found.bytes
        self.tokens += found.tokens
        self.requests += found.requests
        self.modalities |= found.modalities
        self.traits |= found.traits
        self.owned = self.owned or found.owned
        if self._can_see is not None:
            for key, uris in found.named:
                self._note_unseen(key, uris, self._can_see)

    def _is_one_kind(self, method: Method, line: int) -> bool:
        """Whether a request is sent like those before it."""
        if self.method is None:
            self.method, self.first_line = method, line
            return True
        self.findings.add(
            Problem(
                message=f"The line asks for {_kind(method)}; line {self.first_line} asks for {_kind(self.method)}.",
                line=line,
                field="request",
                next="Put them in two files; a job does either one or the other.",
            )
        )
        return False

    def _note_unseen(self, key: str, uris: list[str], can_see: CanSee) -> None:
        uri = next((uri for uri in uris if not can_see(uri)), None)
        if uri is not None:
            self.unseen = self.unseen or Unseen(key, uri)
            self.unseen.requests += 1


def _kind(method: str) -> str:
    return "an embedding" if method is Method.EMBED else "generated content"


def stage(
    source: Path,
    folder: RunFolder,
    *,
    limit: int | None = None,
    origin: Callable[[Method], Origin] | None = None,
    max_bytes: int | None,
    terms: Terms = _NO_TERMS,
    answer_schema: bytes | None = None,
    can_see: CanSee | None = None,
    attachments: Collection[Stored] = (),
    offline: bool = False,
    whole: bool = True,
    emit: EventHandler = ignore_events,
) -> Staged:
    """Validate ``source`` line by line and write its canonical copy and row index into ``folder``.

    ``limit``: only this many requests, from the first. ``origin``: for whom rows are recognised in other runs, by the
    method of the requests. ``max_bytes``: a larger file is refused. ``terms``: the model
    whose own rules count, too, and whether only certain refusals are errors. ``answer_schema``: the JSON Schema, as
    JSON, that answers are to satisfy instead of the schema in each request. ``can_see``: whether the file at a URI can
    be seen from here; None: do not ask. ``attachments``: the files that the requests name by placeholders; they are
    listed in ``folder``. ``offline``: whether the command that an error proposes is to be. ``whole``
    False: only lines are checked, not what the file is as a whole. All requests wait to be planned. Raises UsageError
    for a file that is not a request file, InvalidInput with all problems of its lines, StateError if ``folder`` cannot
    be written.
    """
    if whole:
        check_file(source, limit=None if limit is not None else max_bytes, offline=offline)
    try:
        opened = source.open("rb")
    except OSError as error:
        raise UsageError(f"The file cannot be read: {error.strerror}.", file=source, code="unreadable_file") from error
    with opened as reader:
        before = os.fstat(reader.fileno())
        try:
            done = _write(
                reader,
                folder,
                size=before.st_size,
                limit=limit,
                origin=origin,
                terms=terms,
                answer_schema=answer_schema,
                can_see=can_see,
                attachments=attachments,
                emit=emit,
            )
        except OSError as error:
            raise state_error(error, folder.path, "run folder") from error
        after = os.fstat(reader.fileno())
    check_unchanged(before, after, source)
    findings = done.findings
    if findings.error_count:
        raise InvalidInput(
            source,
            for_file(sorted([*findings.errors, *findings.warnings], key=lambda problem: problem.line or 0), source),
            total=findings.error_count,
            warnings=findings.warning_count,
            corrected=fixed(source).typed(),
        )
    if done.method is None:
        raise UsageError(
            "The file has no requests: all of its lines are blank.",
            file=source,
            code="empty_file",
            next="Write one request on each line: "
            '{"key": "1", "request": {"contents": [{"parts": [{"text": "Hello"}]}]}}',
        )
    return Staged(
        requests=done.requests,
        bytes=done.bytes,
        sha256=done.hash.hexdigest(),
        tokens=done.tokens,
        modalities=frozenset(done.modalities),
        traits=frozenset(done.traits),
        method=done.method,
        warnings=tuple(findings.warnings),
        warning_count=findings.warning_count,
        owned=done.owned,
        unseen=done.unseen,
    )


def _write(
    reader: IO[bytes],
    folder: RunFolder,
    *,
    size: int,
    limit: int | None,
    origin: Callable[[Method], Origin] | None,
    terms: Terms,
    answer_schema: bytes | None,
    can_see: CanSee | None,
    attachments: Collection[Stored],
    emit: EventHandler,
) -> _Pass:
    if attachments:
        terms = terms._replace(prepared=True)
        list_attachments(folder, attachments)
    origins = {} if origin is None else {method: origin(method) for method in Method}
    check = Check(terms, origins, answer_schema, frozenset(file.sha256 for file in attachments))
    with private_open(folder.requests, "xb") as sink:
        work = _Pass(reader, sink, check, can_see=can_see, emit=emit)
        with folder.rows(new=True) as rows:
            rows.load(work.rows(size, limit))
            repeated = rows.count_duplicates()
            for key, line, first in islice(rows.duplicates(KEPT_PROBLEMS), KEPT_PROBLEMS):
                work.findings.add(
                    Problem(
                        message=f"The key {key!r} is already used on line {first}.",
                        line=line,
                        field="key",
                        next=f"Give each line a unique key. To number the others: `{FIX} --key-duplicates number`.",
                    )
                )
            work.findings.error_count += max(0, repeated - KEPT_PROBLEMS)
        sink.flush()
        os.fsync(sink.fileno())
    work.findings.errors.sort(key=lambda problem: problem.line or 0)
    emit(Transfer("reading", size, size))
    return work
