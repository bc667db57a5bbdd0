"""Turns the user's file into a run's own requests, in one pass that validates, copies, hashes and indexes.

The original is only read. The copy is canonical: UTF-8, ``\\n``, no BOM, no blank lines; otherwise the bytes of each
line are unchanged.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from itertools import islice
from typing import IO, TYPE_CHECKING, Any

from gemini_batch.catalog import Method
from gemini_batch.errors import InvalidInput, Problem, UsageError
from gemini_batch.events import EventHandler, Transfer, ignore_events
from gemini_batch.intake.attachment_list import list_attachments
from gemini_batch.jsonl import UTF8_BOM, LineTooLong, LineWriter, NotJson, decode, private_open, read_lines
from gemini_batch.money.row_bounds import row_bound
from gemini_batch.store.rows.row_records import RequestRow
from gemini_batch.store.sqlite import state_error
from gemini_batch.validation.conform import Terms
from gemini_batch.validation.file_uri import attached_to, is_placeholder, placeholder
from gemini_batch.validation.inputfile import check_file, check_unchanged
from gemini_batch.validation.repairs import FIX, fixed, for_file
from gemini_batch.validation.request_traits import (
    REFERENCES,
    TRAITS,
    estimate_tokens,
    modalities_of,
    references_of,
    traits_of,
)
from gemini_batch.validation.validate import Checked, check_line

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
_SPACE = b" \t\r"
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
        self,
        source: IO[bytes],
        sink: IO[bytes],
        *,
        size: int,
        limit: int | None,
        origin: Callable[[Method], Origin] | None,
        terms: Terms,
        answer_schema: bytes | None,
        can_see: CanSee | None,
        emit: EventHandler,
    ) -> None:
        self.source, self.size, self.limit, self.emit = source, size, limit, emit
        self.sink = LineWriter(sink)
        self._answer_schema = answer_schema
        self.terms = terms
        self._origin_of = origin
        self._origin: Origin | None = None
        self.can_see = can_see
        self.attachments: frozenset[str] = frozenset()
        self.unseen: Unseen | None = None
        self.findings = _Findings()
        self.requests = 0
        self.bytes = 0
        self.tokens = 0
        self.modalities: set[str] = set()
        self.traits: set[str] = set()
        self.owned = False
        self.method: Method | None = None
        self.first_line = 0
        self._loaded = 0

    def rows(self) -> Iterator[RequestRow]:
        """Each valid line as a row; invalid lines become findings."""
        told = 0
        lines = read_lines(self.source)
        while True:
            try:
                offset, number, data = next(lines)
            except StopIteration:
                break
            except LineTooLong as error:
                self.findings.add(Problem(message="The line is too long for a request.", line=error.number))
                break
            if offset >= self.size:  # another program is writing it; this is refused at the end
                break
            if number == 1:
                data = data.removeprefix(UTF8_BOM)
            data = data.strip(_SPACE)
            if not data:
                continue
            if self.limit is not None and self.requests + self.findings.error_count >= self.limit:
                break
            row = self._row(data, number)
            if row is not None:
                yield row
            if offset - told >= _TELL_EVERY:
                told = offset
                self.emit(Transfer("reading", offset, self.size))

    def _row(self, data: bytes, number: int) -> RequestRow | None:
        checked = check_line(data, number, self.terms)
        if isinstance(checked, Checked) and not self._knows_attachments(data, checked.request):
            unknown = "The request names an attachment that was not prepared with it."
            checked = (Problem(message=unknown, line=number, next="Attach files with `--attach` only."),)
        if not isinstance(checked, Checked):
            for problem in checked:
                self.findings.add(problem)
            return self._bad_row(data, number)
        for problem in checked.problems:
            self.findings.add(problem)
        if self.method is None:
            self.method, self.first_line = checked.method, number
            self._origin = self._origin_of(checked.method) if self._origin_of is not None else None
        elif checked.method != self.method:
            self.findings.add(
                Problem(
                    message=f"The line asks for {_kind(checked.method)}; line {self.first_line} asks for "
                    f"{_kind(self.method)}.",
                    line=number,
                    field="request",
                    next="Put them in two files; a job does either one or the other.",
                )
            )
            return None
        # Where the contents are only text, no name of a field can stand but in the rest of the request.
        named = data if checked.settings is None else checked.settings
        marks = None
        if self._origin is not None:
            marks = self._origin.marks_of(checked.key, checked.request, checked.method, named)
        fingerprint, body, outside = marks[:3] if marks is not None else (None, None, False)
        row = RequestRow(
            self._seq(),
            number,
            checked.key,
            self.bytes,
            len(data),
            checked.expects_json,
            checked.dimension,
            estimate_tokens(data, only_text=checked.settings is not None),
            self._answer_schema or checked.schema,
            fingerprint,
            body,
            outside,
            *row_bound(data, embeds=checked.method is Method.EMBED, settings=checked.settings),
        )
        self.owned = self.owned or (marks is not None and marks.owned)
        self.sink.write(data)
        if b"odalities" in named:
            self.modalities |= modalities_of(checked.request)
        if checked.method is Method.EMBED and len(self.traits) < len(TRAITS):
            self.traits |= traits_of(data)
        if self.can_see is not None and any(name in named for name in REFERENCES):
            self._note_unseen(checked.key, checked.request, self.can_see)
        self.bytes += len(data) + 1
        self.tokens += row.tokens
        self.requests += 1
        return row

    def _knows_attachments(self, data: bytes, request: dict[str, Any]) -> bool:
        """Whether each placeholder of a line stands where it will be replaced, and for a file that is known."""
        if b"attachment:sha256-" not in data:
            return True
        named = [uri for uri in references_of(request) if is_placeholder(uri)]
        found = attached_to(data)
        return named == [placeholder(sha256) for sha256 in found] and self.attachments.issuperset(found)

    def _note_unseen(self, key: str, request: dict[str, Any], can_see: CanSee) -> None:
        uri = next((uri for uri in references_of(request) if not is_placeholder(uri) and not can_see(uri)), None)
        if uri is not None:
            self.unseen = self.unseen or Unseen(key, uri)
            self.unseen.requests += 1

    def _bad_row(self, data: bytes, number: int) -> RequestRow | None:
        """A row for the key of an invalid line, so that repeated keys are found there too."""
        try:
            key = decode(data)["key"]
        except (NotJson, KeyError, TypeError):
            return None
        if not (isinstance(key, str) and key):
            return None
        return RequestRow(self._seq(), number, key, 0, 0, expects_json=False, dimension=None, tokens=0)

    def _seq(self) -> int:
        self._loaded += 1
        return self._loaded - 1


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
        sha256=done.sink.hash.hexdigest(),
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
    with private_open(folder.requests, "xb") as sink:
        work = _Pass(
            reader,
            sink,
            size=size,
            limit=limit,
            origin=origin,
            terms=terms,
            answer_schema=answer_schema,
            can_see=can_see,
            emit=emit,
        )
        work.attachments = frozenset(file.sha256 for file in attachments)
        with folder.rows(new=True) as rows:
            rows.load(work.rows())
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
        work.sink.flush()
        sink.flush()
        os.fsync(sink.fileno())
    work.findings.errors.sort(key=lambda problem: problem.line or 0)
    emit(Transfer("reading", size, size))
    return work
