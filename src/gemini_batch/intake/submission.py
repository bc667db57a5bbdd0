"""Turns the arguments of ``create`` or ``run`` and a request file into a run, or finds the run it already has."""

from __future__ import annotations

import datetime as dt
import hashlib
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from gemini_batch import catalog
from gemini_batch.backend import address_of, held_offline, key_of
from gemini_batch.catalog import Method
from gemini_batch.errors import InvalidInput, Next, Problem, UsageError
from gemini_batch.events import Notice, in_thread
from gemini_batch.intake.attachment_list import list_attachments
from gemini_batch.intake.job_titles import default_name
from gemini_batch.intake.model_checks import (
    advise,
    advise_on_embeddings,
    ask_for_model,
    check_modalities,
    check_model_name,
    say,
)
from gemini_batch.intake.shape import shape_of
from gemini_batch.intake.staging import Staged, stage
from gemini_batch.intake.tabular import prepare
from gemini_batch.intake.terms import terms_of
from gemini_batch.jsonl import sha256_of, utf8_text
from gemini_batch.memory.fingerprint import Origin
from gemini_batch.objects.names import named
from gemini_batch.store.integrity import refuse_shard
from gemini_batch.store.ledger.records import Run, identity
from gemini_batch.store.ledger.run_options import RunOptions, Selection
from gemini_batch.store.shard_manifest import check_same
from gemini_batch.store.sqlite import state_error
from gemini_batch.tables.note import keep_table
from gemini_batch.validation.inputfile import check_file
from gemini_batch.validation.request_traits import file_id_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable

    from gemini_batch.intake.tabular import Prepared, TableInput
    from gemini_batch.money.limits import MaxUsd, Usd
    from gemini_batch.objects.reading import ObjectFile
    from gemini_batch.session import Session
    from gemini_batch.store.shard_manifest import Shard, ShardManifest
    from gemini_batch.store.state_folder import RunFolder

_SHOWN_WARNINGS, _SHOWN_URI = 20, 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """The arguments of ``create`` or ``run``. ``model`` None: the default for the method of the requests.

    ``model_check`` False: no model is refused, nor a line by a rule of its model. ``lenient``: refuse only
    lines that the service certainly refuses. ``limit``, ``sample``: send only so many, the first or a random choice.
    ``new``: send all again, whatever was answered before. ``dedupe``: send identical requests once. ``table``: the
    rows of which the requests are made; ``source`` is their file once they are (``prepared``). ``shard``: ``source`` is
    this shard of a manifest, and stays where it is; ``remote``: it is this object, which ``source`` only names.
    """

    source: Path
    model: str | None = None
    model_check: bool = True
    name: str | None = None
    limit: int | None = None
    sample: int | None = None
    sample_seed: int = 0
    inline: bool = False
    new: bool = False
    lenient: bool = False
    dedupe: bool = False
    max_usd: MaxUsd | Usd | None = None
    table: TableInput | None = None
    prepared: Prepared | None = None
    shard: tuple[ShardManifest, Shard] | None = None
    remote: ObjectFile | None = None

    @property
    def named(self) -> str:
        """The file or table, as messages name it."""
        return named(self.source) if self.table is None else self.table.name

    @property
    def selection(self) -> Selection:
        """Which of the requests are to be sent."""
        return Selection(limit=self.limit, sample=self.sample, seed=self.sample_seed)

    @property
    def options(self) -> RunOptions:
        """What it says about the run."""
        return RunOptions(name=self.name, selection=self.selection, dedupe=self.dedupe or None).capped(self.max_usd)


@dataclass(frozen=True, slots=True)
class Entered:
    """The run of the requests, whether it was created just now, and the warnings about file and model."""

    run: Run
    is_new: bool
    warnings: list[str]


@asynccontextmanager
async def prepared(session: Session, submission: Submission, *, needs_key: bool = True) -> AsyncIterator[Submission]:
    """The submission with the requests of its table, which exist until the end; one without a table as it is.

    ``needs_key``: without one, nothing is worth the work.
    Raises UsageError for what is no table or a prompt that does not fit it, StateError.
    """
    if submission.table is None:
        yield submission
        return
    if needs_key:
        key_of(session.settings)
    token, table = session.world.token(8), submission.table
    with session.state_folder.staging(session.world.token(8)) as scratch:
        terms = terms_of(session, submission.model or "", check=submission.model_check, lenient=submission.lenient)
        done = await in_thread(
            lambda emit: prepare(table, scratch.path, name=token, terms=terms, emit=emit), session.emit
        )
        for sentence in done.notes:
            session.emit(Notice(sentence))
        yield replace(submission, source=done.requests, prepared=done, model=submission.model or done.recipe.model)


async def _known_run(session: Session, submission: Submission) -> Run | None:
    """The run that a file's requests already have, found by the file's hash alone, without reading its lines.

    Only a file that is already canonical can be found this way. Files of another size are not even hashed.
    """
    ledger = session.ledger()
    try:
        if not ledger.has_run_of(submission.source.stat().st_size):
            return None
        digest = await in_thread(lambda _: sha256_of(submission.source), session.emit)
    except OSError:
        return None  # staging reports what is wrong with the file
    return known_by_hash(session, submission, digest, tuple(Method), session.key_fingerprint())


def known_by_hash(
    session: Session, submission: Submission, sha256: str, methods: Iterable[Method], key: str
) -> Run | None:
    """The run of requests with this hash; ``key``: of the project whose files they may name. Raises StateError."""
    runs = map(session.ledger().newest_with_identity, identities(session, submission, sha256, methods, key))
    return next(filter(None, runs), None)


def identities(session: Session, submission: Submission, sha256: str, methods: Iterable[Method], key: str) -> list[str]:
    """What a run of requests with this hash can be recognised by. Arguments as for :func:`known_by_hash`."""
    address, content = address_of(session.settings), _content(submission, sha256)
    return [
        identity(content, method.value, model_of(submission, method), address, key_fingerprint=owner)
        for method in methods
        for owner in ("", key)
    ]


def _content(submission: Submission, sha256: str) -> str:
    """What a run is recognised by, besides model and address: its requests, and the schema of the answers.

    With another schema, the same requests make another run, which takes the answers and judges them anew.
    """
    schema = submission.prepared.answer_schema if submission.prepared is not None else None
    return sha256 if schema is None else hashlib.sha256(sha256.encode() + schema).hexdigest()


def model_of(submission: Submission, method: Method) -> str:
    """The model that is to answer, without `models/`: the one that was named, or the default."""
    default = catalog.DEFAULT_MODEL if method is Method.GENERATE else catalog.EMBEDDING_MODEL
    return (submission.model or default).removeprefix("models/")


async def enter_run(
    session: Session,
    submission: Submission,
    options: RunOptions,
    *,
    before_new: Callable[[Session, Run, bool], Awaitable[None]],
    max_bytes: int | None = None,
    besides: Run | None = None,
) -> Entered:
    """Find the run that a file's requests already have, or enter a new one. Nothing is planned or sent.

    ``before_new``: called with a run before it is entered, and whether ``--new`` enters it again. ``max_bytes``: a
    larger file is refused. ``besides``: a known run to ignore, because it left nothing.
    Raises UsageError (InvalidInput with every problem of the file), StateError, and what ``before_new`` raises.
    """
    check_submission(submission)
    # A problem with the file itself is reported before a missing key.
    if submission.remote is None:
        check_file(submission.source, offline=session.settings.offline)
    key_of(session.settings)
    address, ledger, old = session.name_blank_address(), session.ledger(), besides and besides.id
    look = not submission.new and besides is None and submission.shard is None  # a shard has to have the hash it states
    if look and (known := await _known_run(session, submission)) is not None:
        _keep_table(submission, session.state_folder.run(known.id))
        return Entered(known, is_new=False, warnings=address)
    token = session.world.token(8)
    with session.state_folder.staging(token) as folder:
        run, said = await _stage_run(session, submission, folder, run_id=f"run-{token}", max_bytes=max_bytes)
        warnings = [*address, *said]
        if submission.prepared is not None and options.name is None:
            options = msgspec.structs.replace(options, name=default_name(Path(submission.named), run.id))
        run = msgspec.structs.replace(run, options=options.encoded())
        assert run.identity is not None
        if submission.shard is None and not submission.new:
            refuse_shard(ledger.newest_with_identity(run.identity, written=True))
        await before_new(session, run, submission.new)
        place = session.state_folder.run(run.id)
        while True:
            newest = ledger.newest_with_identity(run.identity)
            if newest is not None and not submission.new and newest.id != old:
                _keep_table(submission, session.state_folder.run(newest.id))
                return Entered(newest, is_new=False, warnings=warnings)
            await session.check_can_send()
            _keep_table(submission, folder)
            # The folder exists before the ledger names it; a folder unknown to the ledger only takes disk space.
            folder.path.rename(place.path)
            try:
                is_new = ledger.add_run(run, None, at=session.world.now(), unless=newest.id if newest else None)
            except BaseException:
                if ledger.run(run.id) is None:
                    place.path.rename(folder.path)  # where it is removed
                raise
            if is_new:
                return Entered(run, is_new=True, warnings=warnings)
            # Another process has just entered the same requests: its run is used.
            place.path.rename(folder.path)


def _keep_table(submission: Submission, folder: RunFolder) -> None:
    """Make the table of a submission that of its run. Raises StateError."""
    made = submission.prepared
    if made is None or not made.snapshot.exists() or not folder.path.is_dir():
        return  # it is kept already, or the folder is gone, which is said later
    try:
        keep_table(folder.path, made.note, made.snapshot, made.skipped)
        list_attachments(folder, made.attachments)
    except OSError as error:
        raise state_error(error, folder.path, "run folder") from error


async def _stage_run(
    session: Session, submission: Submission, folder: RunFolder, *, run_id: str, max_bytes: int | None
) -> tuple[Run, list[str]]:
    """Validate and copy the file into ``folder``; returns the new run and the warnings.

    Raises UsageError for an invalid file, or for a model that certainly cannot serve it.
    """
    said: list[str] = []
    today = dt.datetime.fromtimestamp(session.world.now(), dt.UTC).date()
    refuse = submission.model_check
    if submission.model is not None and refuse:
        known = catalog.load().find(submission.model)
        if known is not None and (not known.methods or known.status_on(today) == "gone"):
            method = known.methods[0] if known.methods else Method.GENERATE
            advise(session, submission.model, method, today, said, refuse=True)
    address, key_fingerprint = address_of(session.settings), session.key_fingerprint()
    terms = terms_of(session, model_of(submission, Method.GENERATE), check=refuse, lenient=submission.lenient)
    try:
        staged = await in_thread(
            lambda emit: stage(
                submission.source,
                folder,
                origin=lambda method: Origin(address, key_fingerprint, model_of(submission, method)),
                max_bytes=max_bytes,
                terms=terms,
                can_see=_can_see(session) if session.settings.offline else None,
                attachments=submission.prepared.attachments if submission.prepared else (),
                offline=session.settings.offline,
                answer_schema=None if submission.prepared is None else submission.prepared.answer_schema,
                in_place=submission.shard is not None,
                remote=submission.remote,
                emit=emit,
            ),
            session.emit,
        )
    except InvalidInput as error:
        if submission.prepared is None:
            raise
        raise submission.prepared.in_rows(error) from error
    if submission.shard is not None:
        check_same(*submission.shard, requests=staged.requests, sha256=staged.sha256, method=staged.method)
    _warn(session, submission, staged, said)
    _name_unseen(session, staged)
    model = model_of(submission, staged.method)
    if refuse:
        await ask_for_model(session, model)
    advise(session, model, staged.method, today, said, refuse=refuse)
    advise_on_embeddings(session, model, staged, said)
    check_modalities(session, model, staged, said, refuse=refuse)
    run = Run(
        id=run_id,
        identity=identity(
            _content(submission, staged.sha256),
            staged.method.value,
            model,
            address,
            key_fingerprint=key_fingerprint if staged.owned else "",
        ),
        origin="made",
        created_at=session.world.now(),
        method=staged.method,
        model=model,
        backend=address,
        anew=submission.new,
        requests=staged.requests,
        bytes=staged.bytes,
        sha256=staged.sha256,
        source=None if submission.prepared else utf8_text(named(submission.source.absolute())),
        shape=shape_of(staged.first, submission.prepared.recipe.prompt if submission.prepared else None),
        shards=submission.shard and submission.shard[0].id,
        in_place=submission.shard is not None,
    )
    return run, said


def _warn(session: Session, submission: Submission, staged: Staged, said: list[str]) -> None:
    """Report the warnings about lines, or rows; the same one about many of them is reported once."""
    source, made = submission.named, submission.prepared
    unit = "line" if made is None else "row"
    alike: dict[tuple[str | None, str], list[Problem]] = {}
    for problem in staged.warnings:
        alike.setdefault((problem.field, problem.message), []).append(problem)
    shown = list(alike.values())[:_SHOWN_WARNINGS]
    firsts = [same[0] for same in shown]
    for first, (_, *others) in zip(firsts if made is None else made.by_row(firsts), shown, strict=True):
        more = f" (the same in {len(others):,} more {unit}{'s' if len(others) > 1 else ''})" if others else ""
        say(session, said, f"{_sentence(source, first).removesuffix('.')}{more}.", first.next)
    if left := staged.warning_count - sum(map(len, shown)):
        see = Next("validate", source, why="shows all of them") if made is None else None
        say(session, said, f"{left:,} more warnings.", see)


def _can_see(session: Session) -> Callable[[str], bool]:
    """Whether the file or cache at a URI is here; the emulator's data is read once, if a request has any."""
    known: list[frozenset[str]] = []

    def can_see(uri: str) -> bool:
        if not known:
            known.append(held_offline(session.state_folder.emulator))
        return uri in known[0] or file_id_of(uri) in known[0]

    return can_see


def _name_unseen(session: Session, staged: Staged) -> None:
    """Offline, say once that requests refer to files or caches that only the service can read."""
    if (unseen := staged.unseen) is None:
        return
    some = f"{unseen.requests:,} requests refer" if unseen.requests > 1 else "1 request refers"
    shown = unseen.uri.partition("?")[0][:_SHOWN_URI]  # what follows may be a signature
    session.emit(
        Notice(
            f"{some} to files or caches that cannot be seen offline (the first: key {unseen.key!r}, {shown}). The "
            "answers are made as if they were there; only the service can tell."
        )
    )


def check_submission(submission: Submission) -> None:
    """Refuse invalid arguments before anything is read. Raises UsageError."""
    limit = catalog.load().limits.display_name_chars.value
    check_selection(submission.selection)
    if submission.model is not None:
        check_model_name(submission.model)
    if submission.name is not None and not (0 < len(submission.name) <= limit and submission.name.isprintable()):
        raise UsageError(
            f"A display name must have 1 to {limit} printable characters.", field="--name", code="bad_argument"
        )


def check_selection(selection: Selection) -> None:
    """Refuse a choice of requests that means nothing. Raises UsageError."""
    for option, value in (("--limit", selection.limit), ("--sample", selection.sample)):
        if value is not None and value < 1:
            raise UsageError(f"{option} must be at least 1.", field=option, code="bad_argument")
    if selection.limit is not None and selection.sample is not None:
        raise UsageError(
            "--limit and --sample exclude each other.",
            field="--sample",
            code="bad_argument",
            next="Use --limit for the first requests of the file, or --sample for a random choice of them.",
        )
    if selection.seed and selection.sample is None:
        raise UsageError("--sample-seed has no effect without --sample.", field="--sample-seed", code="bad_argument")


def _sentence(source: str, problem: Problem) -> str:
    place = ":".join(str(p) for p in (Path(source).name, problem.line, problem.field) if p is not None)
    return f"{place}: {problem.message.removesuffix('.')}."
