"""Turns the user's file into a run's own requests, in one pass that validates, copies, hashes and indexes.

The original is only read. The copy is canonical: UTF-8, ``\\n``, no BOM, no blank lines; otherwise the bytes of each
line are unchanged.
"""

from __future__ import annotations

import functools
import hashlib
import os
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass, replace
from itertools import islice
from typing import IO, TYPE_CHECKING, Any

from gemini_batch import workers
from gemini_batch.blocks import blocks, carried, content
from gemini_batch.catalog import Method
from gemini_batch.errors import InvalidInput, Problem, UsageError
from gemini_batch.events import EventHandler, Transfer, ignore_events
from gemini_batch.intake.attachment_list import list_attachments
from gemini_batch.intake.checking import Check, Found, check_block
from gemini_batch.jsonl import UTF8_BOM, decode, private_open, read_lines
from gemini_batch.store.rows.row_records import RequestRow
from gemini_batch.store.shard_file import ShardFile, times_of
from gemini_batch.store.sqlite import state_error
from gemini_batch.validation.conform import Terms
from gemini_batch.validation.inputfile import HEAD, check_file, check_head, check_unchanged
from gemini_batch.validation.repairs import FIX, fixed, for_file
from gemini_batch.workers import in_order

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator
    from io import BufferedReader
    from pathlib import Path

    from gemini_batch.blocks import Block
    from gemini_batch.memory.fingerprint import Origin
    from gemini_batch.objects.reading import ObjectFile
    from gemini_batch.store.state_folder import RunFolder
    from gemini_batch.tables.making.attachments import Stored

    CanSee = Callable[[str], bool]

#: Problems kept for the report; more are only counted, so that millions of wrong lines take little memory.
KEPT_PROBLEMS = 10_000
_TELL_EVERY = 16 * 1024 * 1024
_NO_TERMS = Terms()
_SPACE = b" \t\r"


@dataclass(frozen=True, slots=True, kw_only=True)
class Staged:
    """A validated set of requests in a run folder; ``bytes`` and ``sha256`` describe the canonical file, and ``first``
    is the first request.

    ``modalities``: what generation requests ask for besides text (``AUDIO``, ``IMAGE``). ``traits``: what embedding
    requests contain (``taskType``, ``media``). ``owned``: a request names a resource of the project. ``unseen``:
    requests with files or caches that ``can_see`` does not know.
    """

    requests: int
    bytes: int
    sha256: str
    first: dict[str, Any]
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


@dataclass(frozen=True, slots=True)
class _Source:
    """The open file of requests. ``descriptor``: None for an object, which only this process reads."""

    file: BufferedReader
    size: int
    descriptor: int | None = None
    times: tuple[int, int] = (0, 0)

    def blocks(self) -> Iterator[Block]:
        return carried(self.file) if self.descriptor is None else blocks(self.descriptor, self.size)


@contextmanager
def _opened(path: Path, remote: ObjectFile | None) -> Iterator[_Source]:
    """Open the requests. Raises UsageError if they cannot be read, or changed meanwhile; ServiceError."""
    if remote is not None:
        with remote.open() as file:
            yield _Source(file, remote.seen.bytes)
        return
    try:
        opened = path.open("rb")
    except OSError as error:
        raise UsageError(f"The file cannot be read: {error.strerror}.", file=path, code="unreadable_file") from error
    with opened as file:
        before = os.fstat(file.fileno())
        yield _Source(file, before.st_size, file.fileno(), times_of(before))
        after = os.fstat(file.fileno())
    check_unchanged(before, after, path)


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
        self, source: _Source, sink: IO[bytes] | None, check: Check, *, can_see: CanSee | None, emit: EventHandler
    ) -> None:
        self._sink, self.hash = sink, hashlib.sha256()
        #: Whether all blocks are as they would be written.
        self.even = True
        self._source, self._check, self._can_see, self._emit = source, check, can_see, emit
        self.unseen: Unseen | None = None
        self.findings = _Findings()
        self.first = b""
        self.requests = 0
        self.bytes = 0
        self.tokens = 0
        self.modalities: set[str] = set()
        self.traits: set[str] = set()
        self.owned = False
        self.method: Method | None = None
        self._lines = self._rows = self.first_line = 0

    def rows(self, limit: int | None) -> Iterator[RequestRow]:
        """Each valid line as a row, at most ``limit``; invalid lines become findings."""
        told = 0

        def left() -> int | None:
            return None if limit is None else limit - self.requests - self.findings.error_count

        # With a limit, what is to be checked depends on what was found before. Workers read files, not objects: what
        # they were given would be in memory several times.
        size, descriptor = self._source.size, self._source.descriptor
        helping = 0 if limit is not None or descriptor is None else workers.worth(size)
        todo = ((block, left()) for block in self._source.blocks())
        work = functools.partial(check_block, self._check, descriptor)
        files = () if descriptor is None else (descriptor,)
        with closing(in_order(work, todo, workers=helping, files=files)) as checked:
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
        kept = content(self._source.descriptor, found.block) if found.content is None else found.content
        self.first = self.first or kept[: kept.find(b"\n")]
        self.hash.update(kept)
        if self._sink is not None:
            self._sink.write(kept)
        self.even = self.even and found.content is None
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
    in_place: bool = False,
    remote: ObjectFile | None = None,
    emit: EventHandler = ignore_events,
) -> Staged:
    """Validate ``source`` line by line and write its canonical copy and row index into ``folder``.

    ``in_place``: a shard, which must be canonical already; it is referred to instead of being copied, and its rows are
    not to be recognised in other runs. ``remote``: the object of a shard, which ``source`` only names.
    ``limit``: only this many requests, from the first. ``origin``: for whom rows are recognised in other runs, by the
    method of the requests. ``max_bytes``: a larger file is refused. ``terms``: the model
    whose own rules count, too, and whether only certain refusals are errors. ``answer_schema``: the JSON Schema, as
    JSON, that answers are to satisfy instead of the schema in each request. ``can_see``: whether the file at a URI can
    be seen from here; None: do not ask. ``attachments``: the files that the requests name by placeholders; they are
    listed in ``folder``. ``offline``: whether the command that an error proposes is to be. ``whole``
    False: only lines are checked, not what the file is as a whole. All requests wait to be planned. Raises UsageError
    for a file that is not a request file, InvalidInput with all problems of its lines, StateError if ``folder`` cannot
    be written; for an object, also ServiceError.
    """
    most = max_bytes if limit is None else None
    if whole and remote is None:
        check_file(source, limit=most, offline=offline)
    with _opened(source, remote) as opened:
        if whole and remote is not None:
            check_head(source, opened.file.peek(HEAD)[:HEAD], opened.size, limit=most, offline=offline)
        try:
            done = _write(
                opened,
                folder,
                limit=limit,
                origin=origin,
                terms=terms,
                answer_schema=answer_schema,
                can_see=can_see,
                attachments=attachments,
                in_place=in_place,
                emit=emit,
            )
            if in_place:
                folder.refer_to(
                    ShardFile(
                        # A link stays what the user named.
                        path=os.path.abspath(source) if remote is None else str(remote.address),  # noqa: PTH100
                        bytes=opened.size,
                        sha256=done.hash.hexdigest(),
                        times=opened.times,
                        seen=None if remote is None else remote.seen,
                    )
                )
        except OSError as error:
            raise state_error(error, folder.path, "run folder") from error
    findings = done.findings
    if findings.error_count:
        raise InvalidInput(
            source,
            for_file(sorted([*findings.errors, *findings.warnings], key=lambda problem: problem.line or 0), source),
            total=findings.error_count,
            warnings=findings.warning_count,
            corrected=fixed(source).typed(),
        )
    if in_place and not done.even:
        with _opened(source, remote) as opened:
            line, what = _uneven(opened)
        raise UsageError(
            f"{what}, and a shard is sent as it is.",
            file=source,
            line=line,
            code="not_canonical",
            next="Write each request on one line that ends in \\n, and nothing else.",
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
        first=decode(done.first)["request"],
        tokens=done.tokens,
        modalities=frozenset(done.modalities),
        traits=frozenset(done.traits),
        method=done.method,
        warnings=tuple(findings.warnings),
        warning_count=findings.warning_count,
        owned=done.owned,
        unseen=done.unseen,
    )


def _uneven(source: _Source) -> tuple[int, str]:
    """The first line of a file that is not written as requests are sent, and why."""
    number, end = 0, 0
    for offset, number, data in read_lines(source.file):
        end = offset + len(data) + 1
        if offset == 0 and data.startswith(UTF8_BOM):
            return number, "The file begins with a byte order mark"
        if data.endswith(b"\r"):
            return number, "The line ends in \\r\\n"
        if not data.strip(_SPACE):
            return number, "The line is blank"
        if data.strip(_SPACE) != data:
            return number, "There are spaces around the request"
    if end != source.size:
        return number, "The last line does not end in \\n"
    return 1, "The file is not written as requests are sent"


def _write(
    source: _Source,
    folder: RunFolder,
    *,
    limit: int | None,
    origin: Callable[[Method], Origin] | None,
    terms: Terms,
    answer_schema: bytes | None,
    can_see: CanSee | None,
    attachments: Collection[Stored],
    in_place: bool,
    emit: EventHandler,
) -> _Pass:
    if attachments:
        terms = terms._replace(prepared=True)
        list_attachments(folder, attachments)
    origins = {} if origin is None else {method: origin(method) for method in Method}
    known = frozenset(file.sha256 for file in attachments)
    check = Check(terms, origins, answer_schema, known, remembered=not in_place)
    with nullcontext() if in_place else private_open(folder.requests, "xb") as sink:
        work = _Pass(source, sink, check, can_see=can_see, emit=emit)
        with folder.rows(new=True) as rows:
            rows.load(work.rows(limit))
            repeated = rows.count_duplicates()
            for key, line, first in islice(rows.duplicates(KEPT_PROBLEMS), KEPT_PROBLEMS) if repeated else ():
                work.findings.add(
                    Problem(
                        message=f"The key {key!r} is already used on line {first}.",
                        line=line,
                        field="key",
                        next=f"Give each line a unique key. To number the others: `{FIX} --key-duplicates number`.",
                    )
                )
            work.findings.error_count += max(0, repeated - KEPT_PROBLEMS)
        if sink is not None:
            sink.flush()
            os.fsync(sink.fileno())
    work.findings.errors.sort(key=lambda problem: problem.line or 0)
    emit(Transfer("reading", source.size, source.size))
    return work
