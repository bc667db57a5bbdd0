"""``show``: requests of a run next to their answers, read from this machine alone. It asks and spends nothing."""

from __future__ import annotations

import difflib
import hashlib
import heapq
from dataclasses import dataclass
from itertools import islice, takewhile
from typing import TYPE_CHECKING

import msgspec

from gemini_batch.commands.job_names import check_name, held_here
from gemini_batch.commands.shown_row import ShownRow, ShownRowReader, Texts
from gemini_batch.commands.verdict_words import parse_verdicts
from gemini_batch.errors import Next, NotFinished, UsageError
from gemini_batch.events import Notice
from gemini_batch.jsonl import utf8_text
from gemini_batch.report.job_view import run_facts
from gemini_batch.report.next_steps import to_adopt
from gemini_batch.session import KnownJob
from gemini_batch.store.integrity import check_held
from gemini_batch.store.ledger.records import JobStage

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from gemini_batch.money.book import PriceBook
    from gemini_batch.session import Session
    from gemini_batch.store.ledger.records import Job, Run
    from gemini_batch.store.rows.row_records import PlacedRow
    from gemini_batch.store.state_folder import RunFolder

#: An unknown key is compared with so many keys of the run.
_COMPARED = 100_000
#: A key that is less like it (from 0 to 1) is no suggestion.
_ALIKE = 0.7


@dataclass(frozen=True, slots=True, kw_only=True)
class RowSelection:
    """Which rows are shown: those that all of this is true of.

    ``grep``: a text in the key, the prompt or the answer, in any case. ``sample``: of the rows that are left, so many,
    chosen by ``sample_seed``; the same ones each time. ``limit``: at most so many.
    """

    keys: tuple[str, ...] = ()
    verdicts: tuple[str, ...] = ()
    grep: str | None = None
    sample: int | None = None
    sample_seed: int = 0
    limit: int | None = None

    @property
    def narrows(self) -> bool:
        """Whether it may leave out rows."""
        return bool(self.keys or self.verdicts) or (self.grep, self.sample, self.limit) != (None, None, None)


def row_selection(
    keys: Sequence[str] | str | None,
    *,
    verdict: Sequence[str] | str | None,
    grep: str | None,
    sample: int | None,
    sample_seed: int,
    limit: int | None,
) -> RowSelection:
    """What a caller's arguments ask for. Raises UsageError for what is no verdict or no number of rows."""
    for field, count in (("--sample", sample), ("--limit", limit)):
        if count is not None and count < 1:
            raise UsageError(
                f"{count} is not a number of rows.", field=field, code="bad_argument", next="Give 1 or more."
            )
    named = [verdict] if isinstance(verdict, str) else verdict or ()
    return RowSelection(
        keys=tuple(dict.fromkeys([keys] if isinstance(keys, str) else keys or ())),
        verdicts=parse_verdicts(named, field="--verdict", what=""),
        grep=grep,
        sample=sample,
        sample_seed=sample_seed,
        limit=limit,
    )


class ShownRun(msgspec.Struct, frozen=True, kw_only=True):
    """The run whose rows are shown, as it is recorded on this machine."""

    run: str
    """Id of the run, `run-…`."""
    model: str
    """Model that the requests are for."""
    requests: int
    """Number of requests in the run."""
    answered: int
    """Requests that have an answer of any kind."""
    not_sent: int
    """Requests that were never sent."""
    backend: str
    """Base URL at which the jobs live, or `offline`."""
    offline: bool
    """True if the local emulator answers."""
    next: Next | None
    """The next command for the run."""


@dataclass(frozen=True, slots=True)
class Shown:
    """Selected rows of one run: iterate over them, as often as needed. They are read one by one, without network."""

    _run: Run
    _jobs: Sequence[Job]
    _folder: RunFolder
    _prices: PriceBook
    _selection: RowSelection
    #: The run, as it was recorded when it was asked for.
    summary: ShownRun

    def __iter__(self) -> Iterator[ShownRow]:
        """The rows in the order of the input, or of the keys that were named.

        Raises StateError where files of the run are gone.
        """
        opened = ShownRowReader.open(self._run, self._jobs, self._folder, self._prices, offline=self.summary.offline)
        with opened as reader:
            for row, texts in selected(self._candidates(reader), reader, self._selection):
                yield reader.shown(row, texts)

    def _candidates(self, reader: ShownRowReader) -> Iterator[PlacedRow]:
        if not self._selection.keys:
            yield from reader.rows.placed()
        for key in self._selection.keys:
            yield from reader.rows.placed(key)


def selected(
    rows: Iterable[PlacedRow], reader: ShownRowReader, selection: RowSelection
) -> Iterator[tuple[PlacedRow, Texts | None]]:
    """The rows that are wanted, with their texts where they had to be read. Never more rows in memory than sampled."""
    if selection.sample is not None:
        matching = (row for row, _ in _matching(rows, reader, selection))
        chosen = heapq.nsmallest(selection.sample, matching, key=lambda row: rank(row.seq, selection.sample_seed))
        places = {key: place for place, key in enumerate(selection.keys)}
        chosen.sort(key=lambda row: (places.get(row.key, 0), row.seq))
        yield from islice(((row, None) for row in chosen), selection.limit)
    else:
        yield from islice(_matching(rows, reader, selection), selection.limit)


def _matching(
    rows: Iterable[PlacedRow], reader: ShownRowReader, selection: RowSelection
) -> Iterator[tuple[PlacedRow, Texts | None]]:
    for row in rows:
        if selection.verdicts and reader.verdict(row) not in selection.verdicts:
            continue
        texts = None
        if selection.grep is not None:
            texts = reader.texts(row)
            if not contains(selection.grep, row.key, texts):
                continue
        yield row, texts


def contains(text: str, key: str, texts: Texts) -> bool:
    """Whether a text is in the key, the prompt or the answer, in any case."""
    wanted = text.casefold()
    turns = (turn.text for turn in (*(texts.prompt or ()), *(texts.answer or ())))
    return any(wanted in one.casefold() for one in (key, *turns))


def rank(seq: int, seed: int) -> bytes:
    """Where a row stands in a random order that depends on the seed alone: a larger sample contains the smaller one."""
    return hashlib.blake2b(f"{seed}:{seq}".encode(), digest_size=8).digest()


def nearest_key(key: str, keys: Iterable[str]) -> str | None:
    """The key most like the one that is unknown, among the first hundred thousand; None if none resembles it.

    Of several that are equally like it, the one that begins as it does.
    """
    best, found = (_ALIKE, 0), None
    wanted = key.casefold()
    matcher = difflib.SequenceMatcher(b=wanted, autojunk=False)
    for other in islice(keys, _COMPARED):
        candidate = other.casefold()
        matcher.set_seq1(candidate)
        if matcher.real_quick_ratio() < best[0] or matcher.quick_ratio() < best[0]:
            continue
        beginning = takewhile(lambda pair: pair[0] == pair[1], zip(wanted, candidate, strict=False))
        likeness = (matcher.ratio(), sum(1 for _ in beginning))
        if likeness > best:
            best, found = likeness, other
    return found


async def show(session: Session, name: str, selection: RowSelection) -> Shown:
    """The selected rows of a run, named by its id or by any of its jobs, as they are held on this machine.

    Raises UsageError for a name or a key that is unknown here, NotFinished where nothing at all is held of the run's
    requests yet, StateError.
    """
    check_name(name)
    session, target = held_here(session, name)
    run = target.run
    facts = run_facts(session, run)
    collected = any(job.stage is JobStage.COLLECTED for job in facts.jobs)
    if run.sha256 is None and not collected:
        raise NotFinished(
            f"{target.name} was created elsewhere: its requests are unknown here, and its answers are not held yet.",
            job=target.name,
            state=facts.state.value,
            next=to_adopt(target.name),
        )
    folder = session.state_folder.run(run.id)
    check_held(folder, run, target.name, offline=session.settings.offline)
    _check_keys(folder, run, selection.keys)
    if isinstance(target, KnownJob) and len(facts.jobs) > 1:
        session.emit(
            Notice(f"{target.name} is one of {len(facts.jobs)} jobs of {run.id}; rows of all of them are shown.")
        )
    if not collected and not facts.answered:
        session.emit(Notice(f"No answers of {run.id} are held here yet.", next=facts.next))
    summary = ShownRun(
        run=run.id,
        model=run.model,
        requests=run.requests,
        answered=facts.answered,
        not_sent=facts.not_sent,
        backend=run.backend,
        offline=session.settings.offline,
        next=facts.next,
    )
    return Shown(run, facts.jobs, folder, session.prices, selection, summary)


def _check_keys(folder: RunFolder, run: Run, keys: Sequence[str]) -> None:
    """Refuse a key that the run does not have. Raises UsageError with the nearest one."""
    with folder.rows() as rows:
        for key in keys:
            # No key of a run has bytes that are not text, and SQLite takes none.
            if utf8_text(key) != key or next(rows.placed(key), None) is None:
                near = nearest_key(key, (row.key for row in rows.placed()))
                raise UsageError(
                    f"{run.id} has no request with the key {key!r}.",
                    field="KEY",
                    code="unknown_key",
                    next=f"Did you mean {near!r}?" if near else f"`show {run.id} --grep TEXT` searches keys and texts.",
                )
