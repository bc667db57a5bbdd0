"""``run``: all of it. Validate, cut into jobs, send, wait, collect, send again what failed in passing, write results.

The same command again, or ``run RUN``, goes on where it stopped, whatever stopped it.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from gemini_batch import catalog
from gemini_batch.backend import key_of
from gemini_batch.errors import UsageError
from gemini_batch.jsonl import atomic_write, decode_as
from gemini_batch.runs.change import Change  # noqa: TC001 - msgspec needs the type itself
from gemini_batch.runs.conduct import Conductor
from gemini_batch.runs.events import Said
from gemini_batch.runs.ledger import Life
from gemini_batch.runs.order import Order, ask_for_model, check_model, check_order, default_name, known_run, stage_run
from gemini_batch.runs.plan import reconcile
from gemini_batch.runs.results import Results, check_output, summarize
from gemini_batch.runs.schedule import Limits, live_work, resend
from gemini_batch.runs.sqlite import state_error

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gemini_batch.runs.home import RunFolder
    from gemini_batch.runs.ledger import Ledger, Run
    from gemini_batch.runs.session import Session

#: More in one job is possible (the service publishes no bound), but one stuck job should not hold everything.
REQUESTS_A_JOB = 50_000
ATTEMPTS = 3


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """How a run is worked off; None: not said. Kept with it, so that ``run RUN`` goes on in the same way."""

    max_requests_per_job: int | None = None
    max_tokens_per_job: int | None = None
    attempts: int | None = None
    tier: int | None = None
    #: What a retry that is not finished yet changes in the requests that wait.
    change: Change | None = None

    def over(self, kept: Options) -> Options:
        """What is said here, and what was kept of the rest."""
        said = {name: value for name in self.__struct_fields__ if (value := getattr(self, name)) is not None}
        return msgspec.structs.replace(kept, **said)

    @property
    def most_attempts(self) -> int:
        """In how many jobs a request may be."""
        return self.attempts or ATTEMPTS


@dataclass(frozen=True, slots=True, kw_only=True)
class Again:
    """What ``retry`` asks for: final verdicts whose requests go once more, and what changes in them."""

    verdicts: tuple[str, ...]
    change: Change


async def run(session: Session, what: str | Order, options: Options | None, *, output: Path | None = None) -> Results:
    """Work a file (an :class:`Order`) or a known run (its id) off to the end, and write its results to ``output``.

    Beside ``output`` stands ``failures.jsonl``, the requests without a good answer, where there are any. Raises
    UsageError (InvalidInput with all problems) before anything is sent, ServiceError where the service refuses for
    good, StateError. Whatever ends it, the same call goes on where it stopped.
    """
    if output is not None:
        check_output(output)
        _check_failures(_failures_beside(output))
    entered = _known(session, what) if isinstance(what, str) else await _enter(session, what, options)
    name = what.name if isinstance(what, Order) and what.name is not None else None
    await _conduct(session, entered, options, name=name)
    return _finish(session, entered, output)


async def retry(session: Session, run_id: str, again: Again, *, output: Path | None = None) -> Results:
    """Send the requests of a finished run once more whose final verdict is one of those asked for.

    This spends: only the user's explicit word does it. What the new attempt answers replaces what was not a success.
    Raises UsageError where there is nothing to send.
    """
    if output is not None:
        _check_failures(_failures_beside(output))
    entered = _known(session, run_id)
    home = session.locate(run_id).home
    ledger, folder = session.ledger(home), home.run(entered.id)
    await _check_change(session, entered, again.change)
    with folder.lock(wait=0.0):
        entered = ledger.run(entered.id) or entered
        if _work_left(ledger, folder, entered, _kept(entered).most_attempts):
            raise UsageError(
                f"{run_id} is not finished, so it is too early to send anything of it again.",
                code="not_finished",
                next=f"Type: gemini-batch run {run_id}",
            )
        # The change is written down before anything waits for it: a plain `run` after a crash makes the same change.
        kept = msgspec.structs.replace(_kept(entered), change=again.change if again.change.asked else None)
        entered = _keep(session, entered, kept)
        with folder.rows() as rows:
            count = rows.choose(again.verdicts)
    if not count:
        raise UsageError(
            f"No request of {run_id} has ended as {', '.join(again.verdicts)}.",
            code="nothing_to_retry",
            next=f"Type: gemini-batch results {run_id} to see how they ended.",
        )
    session.tell(Said(f"{count:,} {'request is' if count == 1 else 'requests are'} sent again."))
    if not again.change.asked and set(again.verdicts) & {"truncated", "blocked", "empty", "invalid"}:
        session.tell(
            Said("They are sent as they were, and will mostly end as they did.", "warning", "--help lists changes.")
        )
    await _conduct(session, entered, None, name=None)
    return _finish(session, entered, output)


def _kept(run: Run) -> Options:
    return decode_as(run.options.encode(), Options) if run.options else Options()


def _keep(session: Session, run: Run, options: Options) -> Run:
    text = msgspec.json.encode(options).decode()
    return session.ledger(session.home).set_options(run, text, at=session.world.now())


async def _check_change(session: Session, run: Run, change: Change) -> None:
    """Refuse a change that cannot help this run. Raises UsageError."""
    if run.method == "embed" and change.rewrites:
        raise UsageError(
            "Embeddings have no temperature and no output tokens to change.",
            code="bad_argument",
            next=f"Type: gemini-batch retry {run.id} --only failed,missing",
        )
    if change.model is not None:
        check_model(session, change.model, run.method)
        await ask_for_model(session, change.model)


def _known(session: Session, run_id: str) -> Run:
    target = session.locate(run_id)
    if target.run is None or target.run.origin != "made":
        raise UsageError(
            f"{run_id} was not made here, so its requests are not known and it cannot be gone on with.",
            code="not_our_run",
            next=f"Type: gemini-batch results {run_id}",
        )
    session.check_bound(target)
    return target.run


async def _enter(session: Session, order: Order, options: Options | None) -> Run:
    """Stage the file and enter it into the ledger, or find the run that these requests already have."""
    check_order(order)
    key_of(session.settings)
    ledger = session.ledger()
    if not order.new and (begun := await known_run(session, order)) is not None:
        session.tell(Said(f"These requests have a run already: going on with {begun.id}."))
        return begun
    token = session.world.token(8)
    with session.home.staging(token) as folder:
        new, _, _ = await stage_run(session, order, folder, run_id=f"run-{token}", job=None, max_bytes=None)
        new = msgspec.structs.replace(new, options=msgspec.json.encode(options or Options()).decode())
        assert new.identity is not None
        while True:
            known = ledger.newest_with_identity(new.identity)
            if known is not None and not order.new:
                session.tell(Said(f"These requests have a run already: going on with {known.id}."))
                return known
            place = session.home.run(new.id)
            folder.path.rename(place.path)
            if ledger.add_run(new, None, at=session.world.now(), unless=known.id if known else None):
                session.tell(Said(f"This is {new.id}: {new.requests:,} requests for {new.model}."))
                return new
            place.path.rename(folder.path)


async def _conduct(session: Session, run: Run, options: Options | None, *, name: str | None) -> None:
    home = session.home
    folder = home.run(run.id)
    with folder.lock(wait=0.0):
        run = session.ledger(home).run(run.id) or run  # another process may have worked on it until now
        kept = _kept(run)
        chosen = options.over(kept) if options is not None else kept
        change = chosen.change
        if not _work_left(session.ledger(home), folder, run, chosen.most_attempts):
            return
        if session.key_print() != run.key_print:
            # Another project's list says nothing about this run's creates in doubt, and its queue is another one.
            raise UsageError(
                f"{run.id} was begun with another API key; it goes on with that one only.",
                code="other_key",
                next="Use the key of the project that it was begun with.",
            )
        if chosen != kept:
            run = _keep(session, run, chosen)
        backend = await session.backend()
        conductor = Conductor(
            session,
            backend.service,
            home,
            run,
            limits=_limits((change and change.model) or run.model, chosen),
            attempts=chosen.most_attempts,
            display_name=name if name is not None else default_name(Path(run.source or run.id), run.id),
            change=change,
        )
        await conductor.conduct()
        if change is not None:
            _keep(session, run, msgspec.structs.replace(chosen, change=None))


def _work_left(ledger: Ledger, folder: RunFolder, run: Run, attempts: int) -> bool:
    """Whether anything is to be sent, watched or collected; where nothing is, no service is needed.

    What an earlier process collected and did not come to send again waits from here on, and what it put into a job
    that it did not come to write down.
    """
    jobs = ledger.jobs_of(run.id)
    with folder.rows() as rows:
        reconcile(ledger, rows, run)
        for job in jobs:
            if job.life is Life.COLLECTED:
                rule = resend(job, attempts)
                rows.requeue(job.ordinal, reasons=rule.reasons, missing=rule.missing, most=rule.most)
        waiting = rows.waiting().requests
    return bool(waiting) or live_work(jobs)


def _limits(name: str, options: Options) -> Limits:
    book = catalog.load()
    model = book.find(name)
    known = model.enqueued_tokens.of_tier(options.tier) if model and model.enqueued_tokens and options.tier else None
    bounds = [bound for bound in (options.max_tokens_per_job, known) if bound is not None]
    return Limits(
        requests=options.max_requests_per_job or REQUESTS_A_JOB,
        bytes=book.limits.input_file_bytes.value,
        tokens=min(bounds) if bounds else None,
        jobs=book.limits.concurrent_jobs.value,
        queue=known,
    )


def _finish(session: Session, run: Run, output: Path | None) -> Results:
    home = session.home
    jobs = session.ledger(home).jobs_of(run.id)
    found = Results(run, jobs, home, summarize(home, run, jobs, offline=session.settings.offline))
    if output is not None:
        found.write(output)
        _write_failures(found, home.run(run.id), output)
    return found


def _write_failures(found: Results, folder: RunFolder, output: Path) -> None:
    """Beside the results: every request without a good answer, with verdict, reason and the request itself."""
    target = _failures_beside(output)
    _check_failures(target)
    if found.summary.all_succeeded:
        if os.path.exists(target) and _is_ours(target):  # noqa: PTH110 - a name that we chose
            target.unlink()
        return
    try:
        with atomic_write(target) as file, folder.rows() as rows, folder.requests.open("rb") as requests:
            for key, offset, length, verdict, reason in rows.failures():
                requests.seek(offset)
                request = msgspec.Raw(requests.read(length))
                file.write(
                    msgspec.json.encode({"key": key, "verdict": verdict, "reason": reason, "line": request}) + b"\n"
                )
    except OSError as error:
        raise state_error(error, target, "failures file") from error


def _failures_beside(output: Path) -> Path:
    """``failures.jsonl`` beside ``results.jsonl``, ``NAME.failures.jsonl`` beside any other."""
    return output.with_name("failures.jsonl" if output.stem == "results" else f"{output.stem}.failures.jsonl")


def _check_failures(path: Path) -> None:
    """A file that happens to have that name and is not one of ours stays as it is. Raises UsageError."""
    if path.exists() and not (path.is_file() and (not path.stat().st_size or _is_ours(path))):
        raise UsageError(
            "The failures would be written into this file, and it holds something else.",
            file=path,
            field="--output",
            code="bad_output",
            next="Move it away, or give the results another name.",
        )


def _is_ours(path: Path) -> bool:
    """A failures file of an earlier state of the same results, which is no longer true."""
    with path.open("rb") as file:
        first = file.readline(1 << 20)
    try:
        line = msgspec.json.decode(first)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return False
    return isinstance(line, dict) and set(line) == {"key", "verdict", "reason", "line"}


def parse_verdicts(words: Sequence[str]) -> tuple[str, ...]:
    """Verdicts as a user names them. Raises UsageError for one that there is not, or for ``succeeded``."""
    from gemini_batch.results.verdict import VERDICTS

    chosen = tuple(dict.fromkeys(word.strip() for part in words for word in part.split(",") if word.strip()))
    allowed = [verdict for verdict in VERDICTS if verdict != "succeeded"]
    for word in chosen:
        if word not in allowed:
            raise UsageError(
                f"{word!r} is no verdict that can be sent again.",
                field="--only",
                code="bad_argument",
                next=f"Choose from {', '.join(allowed)}.",
            )
    return chosen
