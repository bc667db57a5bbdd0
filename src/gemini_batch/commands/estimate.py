"""``estimate``: what a run would send, how many tokens that is, and what it would cost. Nothing is sent."""

from __future__ import annotations

import asyncio
import datetime as dt
import math
from contextlib import suppress
from typing import TYPE_CHECKING, Literal

import msgspec

from gemini_batch import catalog
from gemini_batch.backend import address_of
from gemini_batch.catalog import Method
from gemini_batch.commands.job_names import known_by_name
from gemini_batch.commands.prompt_tokens import earlier, prompt_tokens
from gemini_batch.errors import StateError, UsageError
from gemini_batch.events import in_thread
from gemini_batch.intake.shape import shape_of
from gemini_batch.intake.staging import stage
from gemini_batch.intake.submission import check_submission, known_by_hash, model_of, prepared
from gemini_batch.intake.terms import terms_of
from gemini_batch.jsonl import read_at
from gemini_batch.memory.copies import copy_identical
from gemini_batch.memory.fingerprint import Origin
from gemini_batch.memory.recall import foresee
from gemini_batch.money.estimates import FEWEST, Lengths, Range, answer_tokens, counted_tokens, expected_cost
from gemini_batch.money.limits import row_prices
from gemini_batch.prices import LONG_PROMPT
from gemini_batch.report.money import PriceNote, price_note
from gemini_batch.report.stragglers import typical
from gemini_batch.store.ledger.records import Run
from gemini_batch.store.ledger.run_options import REQUESTS_A_JOB, kept_options, tiers_of
from gemini_batch.store.rows.conditions import COPY, ELSEWHERE, HELD, REMEMBERED
from gemini_batch.transcript.sizes import counted as how_many
from gemini_batch.validation.file_uri import attached_to
from gemini_batch.vertex_place import is_vertex

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from decimal import Decimal

    from gemini_batch.events import EventHandler
    from gemini_batch.intake.submission import Submission
    from gemini_batch.money.estimates import AnswerBasis
    from gemini_batch.session import Session
    from gemini_batch.store.ledger.run_options import RunOptions
    from gemini_batch.store.rows.rows import Rows
    from gemini_batch.store.state_folder import RunFolder

#: How many prompts the service counts at a time.
_AT_ONCE = 4


class TokenRange(msgspec.Struct, frozen=True, kw_only=True):
    """A number of tokens."""

    low: int
    """The least that it may be."""
    expected: int | None
    """What is expected; null if nothing is known to expect."""
    high: int | None
    """The most that it may be; null if nothing bounds it."""


class UsdRange(msgspec.Struct, frozen=True, kw_only=True):
    """An amount of USD at batch price."""

    low: float | None
    """The least that it may be; null if it is not known."""
    expected: float | None
    """What is expected; null if it is not known."""
    high: float | None
    """The most that it may be; null if nothing bounds it."""


class Estimate(msgspec.Struct, frozen=True, kw_only=True):
    """What a run would send and cost."""

    source: str
    """The file, the table or the run."""
    model: str
    """Model that would answer."""
    method: Method
    """What the requests ask for."""
    requests: int
    """Number of requests that would be sent."""
    remembered: int
    """Requests that were answered before, or that the run of the same requests has sent, whatever came of it."""
    elsewhere: int
    """Requests that are in jobs of other runs."""
    held_back: int
    """Requests that `--limit` or `--sample` leaves out."""
    copies: int
    """Requests that `--dedupe` answers with those of others."""
    skipped: dict[str, int]
    """Number of rows of a table that are not sent, by reason."""
    prompt_tokens: TokenRange
    """Tokens of the prompts."""
    prompt_basis: Literal["estimate", "learned", "counted"]
    """What the tokens of prompts are from: an estimate by script, one that counts of this state folder have corrected,
    or exact counts of a sample."""
    prompts_known: int
    """Number of prompts that the service has counted for this."""
    unknown_media: int
    """Number of recordings, documents and other parts whose tokens nothing tells; they are not in these numbers."""
    unmeasured: list[str]
    """Scripts and models for which the estimate was never measured."""
    answer_tokens: TokenRange
    """Tokens of the answers, thoughts included."""
    answer_basis: Literal["trial", "history", "bound"]
    """What the tokens of answers are from: answers of this run, answers of earlier runs of the same kind, or only the
    most that the requests allow."""
    answers_known: int
    """Number of answers that this is from."""
    usd: UsdRange
    """Cost at batch price. Without answers to expect, `high` is `worst_usd`."""
    charges_usd: float | None
    """The part of the expected cost that is not tokens: searches, as often as in the answers that this is from; null if
    it is not known."""
    interactive_usd: float | None
    """What the same would cost outside a batch."""
    worst_usd: float | None
    """The most that one attempt at everything can cost, as limits count it; null if tokens do not bound it."""
    price: PriceNote | None
    """Price that was used."""
    jobs: int
    """Number of jobs."""
    tier_tokens: int | None
    """Tokens that the project's tier allows in the queue of the model; null without `--tier`, or if it is not known."""
    usual_seconds: float | None
    """How long a job of this model has usually taken from here; null if none has ended."""


async def estimate(
    session: Session, what: str | Submission, options: RunOptions, *, count: int | None = None
) -> Estimate:
    """What a run of an input, or what is left of a known run (its id), would send and cost. Sends and stores nothing.

    ``count``: let the service count the tokens of so many prompts, which needs a key and costs nothing; nothing else
    does. Raises UsageError (InvalidInput with all problems), StateError, and with ``count`` ServiceError.
    """
    if isinstance(what, str):
        session, run = known_by_name(session, what)
        folder = session.state_folder.run(run.id)
        with folder.rows() as rows:
            chosen = options.over(kept_options(run))
            counts = await _counted(session, run, folder, rows, count)
            return await in_thread(
                lambda _: foreseen(session, run, folder, rows, chosen, source=run.id, counts=counts), session.emit
            )
    check_submission(what)
    async with prepared(session, what, needs_key=False) as made:
        with session.state_folder.staging(session.world.token(8)) as folder:
            run = await in_thread(lambda emit: _staged(session, made, options, folder, emit), session.emit)
            with folder.rows() as rows:
                counts = await _counted(session, run, folder, rows, count)
                found = await in_thread(
                    lambda _: foreseen(session, run, folder, rows, options, source=made.named, counts=counts),
                    session.emit,
                )
    return msgspec.structs.replace(found, skipped=made.prepared.note.skipped if made.prepared else {})


async def _counted(
    session: Session, run: Run, folder: RunFolder, rows: Rows, count: int | None
) -> list[tuple[int, int]]:
    """The estimate and the service's count of so many waiting prompts. Raises UsageError for prompts with attachments:
    the service counts only what is uploaded."""
    if count is None:
        return []
    embeds, limit = run.method is Method.EMBED, asyncio.Semaphore(_AT_ONCE)
    service = (await session.backend()).service

    async def counted(guess: int, line: bytes) -> tuple[int, int]:
        request = msgspec.json.decode(line, type=_Line).request
        async with limit:
            return guess, await service.count_tokens(run.model, bytes(request), embeds=embeds)

    with folder.open_requests() as file:
        lines = [(guess, read_at(file, offset, length)) for offset, length, guess in rows.some_waiting(count)]
    if attached := sum(bool(attached_to(line)) for _, line in lines):
        prompts = f"{attached:,} of {how_many(len(lines), 'prompt')}"
        raise UsageError(
            f"{prompts} {'has' if attached == 1 else 'have'} attachments that are uploaded only when they are sent, "
            "so the service cannot count them yet.",
            field="--count",
            next="Leave out --count; a trial with --limit 20 tells what such prompts count.",
        )
    return list(await asyncio.gather(*(counted(guess, line) for guess, line in lines)))


class _Line(msgspec.Struct):
    request: msgspec.Raw


def _staged(
    session: Session, submission: Submission, options: RunOptions, folder: RunFolder, emit: EventHandler
) -> Run:
    """Enter the requests in a folder that goes away, as a run would; what it would not send has its place."""
    address, made = address_of(session.settings), submission.prepared
    settings = session.settings
    key = session.key_fingerprint() if settings.offline or settings.api_key or settings.vertex else ""
    model = model_of(submission, Method.GENERATE)
    terms = terms_of(session, model, check=submission.model_check, lenient=submission.lenient)
    staged = stage(
        submission.source,
        folder,
        origin=lambda method: Origin(address, key, model_of(submission, method)),
        max_bytes=None,
        terms=terms,
        attachments=made.attachments if made else (),
        answer_schema=made.answer_schema if made else None,
        offline=session.settings.offline,
        emit=emit,
    )
    run = Run(
        id="",
        identity=None,
        origin="made",
        created_at=session.world.now(),
        method=staged.method,
        model=model_of(submission, staged.method),
        backend=address,
        requests=staged.requests,
        bytes=staged.bytes,
        sha256=staged.sha256,
        source=None,
        shape=shape_of(staged.first, made.recipe.prompt if made else None),
    )
    with folder.rows() as rows:
        if options.selection is not None:
            rows.select(options.selection)
        if not submission.new:
            known = known_by_hash(session, submission, staged.sha256, (staged.method,), key)
            foresee(session.state_folder, rows, known)
        if options.dedupe:
            copy_identical(folder, rows)
    return run


def foreseen(
    session: Session,
    run: Run,
    folder: RunFolder,
    rows: Rows,
    options: RunOptions,
    *,
    source: str,
    counts: Sequence[tuple[int, int]] = (),
) -> Estimate:
    """What the waiting requests of a run will use and cost. Raises UsageError for a mistake in the user's prices.

    It may read many requests, so it is called in a thread (:func:`gemini_batch.events.in_thread`).
    """
    waiting = rows.waiting()
    overrides = options.overrides
    model = (overrides and overrides.model) or run.model
    now, book = session.world.now(), session.prices
    most = row_prices(
        book, model, now, answer=overrides.max_output_tokens if overrides else None, tiers=tiers_of(options)
    )
    bound = None if most is None else rows.most(most)
    price = book.price_on(model, dt.datetime.fromtimestamp(now, dt.UTC).date())
    most_prompts, most_answers = rows.most_tokens(
        answer=overrides.max_output_tokens if overrides else None,
        answer_limit=None if most is None else most.answer_limit,
    )
    guess = prompt_tokens(session, run, folder, rows, model=model, waiting=waiting)
    prompts = Range(guess.low, None, None)  # what nothing tells has no bound either
    if counts:
        prompts = counted_tokens(counts, waiting.requests, waiting.tokens, among=True)
    elif not guess.unknown:
        ends = (guess.low, guess.tokens, guess.high)
        prompts = Range(*(end if most_prompts is None else min(end, most_prompts) for end in ends))
    lengths, used = _like(session, run, rows)
    answers, basis, known = answer_tokens(waiting.requests, lengths, most_answers)
    if run.method is Method.EMBED:
        answers, basis, known = Range(0, 0, 0), "bound", 0
    cost = expected_cost(waiting.requests, prompts, answers, price, used)
    worst = None if bound is None or bound.unknown else bound.nano / 1e9
    fact = catalog.load().find(model)
    per_job = options.max_requests_per_job or REQUESTS_A_JOB
    by_bytes = math.ceil(waiting.bytes / catalog.load().limits.of_job(vertex=is_vertex(run.backend)).bytes)
    by_tokens = math.ceil(waiting.tokens / options.max_tokens_per_job) if options.max_tokens_per_job else 0
    return Estimate(
        source=source,
        model=model,
        method=run.method,
        requests=waiting.requests,
        remembered=rows.at(REMEMBERED),
        elsewhere=rows.at(ELSEWHERE),
        held_back=rows.at(HELD),
        copies=rows.at(COPY),
        skipped={},
        prompt_tokens=_tokens(prompts),
        prompt_basis="counted" if counts else "learned" if guess.learned else "estimate",
        prompts_known=len(counts) or guess.learned,
        unknown_media=0 if counts else sum(guess.unknown.values()),
        unmeasured=[] if counts else sorted(guess.unmeasured),
        answer_tokens=_tokens(answers),
        answer_basis=basis,
        answers_known=known,
        usd=UsdRange(
            low=_float(cost.low),
            expected=_float(cost.expected),
            high=worst if cost.expected is None else _float(cost.high),
        ),
        charges_usd=_float(cost.charges),
        interactive_usd=_float(cost.interactive),
        worst_usd=worst,
        price=None if price is None else price_note(price),
        jobs=max(math.ceil(waiting.requests / per_job), by_bytes, by_tokens),
        tier_tokens=fact.enqueued_tokens.of_tier(options.tier)
        if fact and fact.enqueued_tokens and options.tier
        else None,
        usual_seconds=typical(session.ledger().durations(model)),
    )


def _tokens(span: Range) -> TokenRange:
    return TokenRange(low=span.low, expected=span.expected, high=span.high)


def _float(amount: Decimal | None) -> float | None:
    return None if amount is None else float(amount)


def _like(session: Session, run: Run, rows: Rows) -> tuple[dict[AnswerBasis, Lengths], list[Mapping[str, int]]]:
    """How long answers like those to come were, and what they used: of the run itself, or else, if these are too few,
    of the newest runs of its shape."""
    own = Lengths(*rows.answer_lengths())
    if own.number >= FEWEST:
        return {"trial": own}, _used(rows)
    total = Lengths()
    used: list[Mapping[str, int]] = []
    for folder in earlier(session, run, same_shape=True):
        with suppress(StateError, OSError), folder.rows() as theirs:  # a damaged run tells nothing
            lengths, sums = Lengths(*theirs.answer_lengths()), _used(theirs)
            total, used = total + lengths, used + sums
    return {"history": total}, used


def _used(rows: Rows) -> list[Mapping[str, int]]:
    """What the answers of a run used, in sums."""
    return [{name: sums[name] for name in sums.keys()} for sums in rows.usage(LONG_PROMPT, by_use=False)]  # noqa: SIM118
