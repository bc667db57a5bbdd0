"""What to do next: the command that helps, from the state of a job or a run and from what became of its requests."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from gemini_batch.answers.reasons import LASTING_CODES, LASTING_REASONS, OWN_LIMITS, RESENT_CODES
from gemini_batch.backend import OFFLINE
from gemini_batch.catalog import Method
from gemini_batch.errors import ApiError, Next
from gemini_batch.report.stragglers import finishing, is_stuck
from gemini_batch.session import UnknownJob
from gemini_batch.store.integrity import send_again
from gemini_batch.store.ledger.run_options import kept_options
from gemini_batch.vertex_place import LABEL, is_vertex
from gemini_batch.wire import Phase

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gemini_batch.report.more_tokens import Room
    from gemini_batch.session import KnownJob, Session
    from gemini_batch.store.ledger.records import Job, Run
    from gemini_batch.store.rows.row_records import Reason
    from gemini_batch.wire import RemoteJob


#: Neither the file of the requests nor sending them again helps there.
_UNLABELLED = (
    f"The requests of this job had no label {LABEL}, without which answers of Vertex AI cannot be joined to keys. Each "
    "of the lines that were kept has its request next to its answer: read them there. To send the requests with the "
    "label, and pay again, run their file with --new."
)


def results_file(run: Run | None) -> str:
    """The file that is proposed for the results of a run: a table for one that was made of a table."""
    return "results.csv" if run is not None and run.of_table else "results.jsonl"


def _to_file(run: Run | None) -> tuple[str, str]:
    return "-o", results_file(run)


def costing(run: Run, what: str = "") -> str:
    """The reason for a command that sends requests of a run; it says that this costs money, unless it is offline."""
    return "; ".join(filter(None, (what, "" if run.backend == OFFLINE else "this costs money")))


def to_adopt(name: str) -> Next:
    """What makes a job that was created elsewhere one of ours."""
    return Next(
        "adopt", name, "requests.jsonl", why="with the file of its requests: then run and retry work on it, too"
    )


def after_cancel(run: Run) -> Next:
    """What sends the rest of a run of which someone else cancelled a job."""
    return Next(
        "retry",
        run.id,
        "--only",
        "failed,missing",
        *_to_file(run),
        why=costing(run, "resends what was cancelled, sends the rest"),
    )


# What became of the requests ------------------------------------------------------------------------------------------


class Step(msgspec.Struct, frozen=True):
    """One of several things to do."""

    next: Next | str
    """A command, or what to fix where no command helps."""


def next_for_results(
    run: Run,
    jobs: Sequence[Job],
    failures: Sequence[Reason],
    room: Room,
    *,
    not_sent: int,
    held: int,
    resendable: int,
    stopped: bool,
    unlabelled: bool,
) -> list[Next | str]:
    """What to do after the results were read, in this order: commands, and what to fix where no command helps.

    ``held``: how many of the requests that were not sent a trial left out; ``resendable``: how many ``run`` would
    resend without being asked for each; ``stopped``: someone else cancelled a job; ``unlabelled``: there are lines
    without a key, and none with one.
    """
    if unlabelled and run.origin == "adopted" and is_vertex(run.backend):
        return [_UNLABELLED]
    if not run.requests_known:
        return [to_adopt(jobs[0].batch or run.id)]
    first = None
    if not_sent and stopped:
        first = after_cancel(run)
    elif not_sent > held:
        first = Next("run", run.id, *_trial(run), *_to_file(run), why=costing(run, "sends the rest"))
    elif resendable:
        first = Next(
            "run", run.id, *_trial(run), *_to_file(run), why=costing(run, "resends requests that failed temporarily")
        )
    # What failed may succeed by that first command, which then says what is left.
    later = {"blocked"} if first is None else {"blocked", "failed", "missing"}
    rest = [failure for failure in failures if failure.verdict not in later or _lasts(failure, jobs)]
    blocked = sum(failure.count for failure in failures if failure.verdict == "blocked")
    return [
        *([first] if first is not None else []),
        *retry_or_fix(run, jobs, rest, room, *_to_file(run)),
        *([_to_rewrite(run, blocked)] if blocked else []),
        *([_all(run, held)] if held and not_sent == held and not stopped else []),
    ]


def _all(run: Run, held: int) -> Next:
    """The step after a trial."""
    rest = (
        "sends the request that the trial left out"
        if held == 1
        else f"sends the {held:,} requests that the trial left out"
    )
    return Next("run", run.id, *_to_file(run), why=costing(run, rest))


def _trial(run: Run) -> tuple[str, ...]:
    """The options with which a run goes on with what was selected, and sends nothing else."""
    chosen = kept_options(run).selection
    return chosen.words if chosen is not None else ()


def _to_rewrite(run: Run, count: int) -> str:
    """What to do about requests that a filter stopped."""
    those, them = ("1 request was", "it") if count == 1 else (f"{count:,} requests were", "them")
    return (
        f"{those} blocked by a filter. Change the prompt or safetySettings and {_anew(run, them)}"
        f"{'' if run.of_table else f', holds {them}'}."
    )


def _anew(run: Run, them: str) -> str:
    """How changed requests are sent, and where they are found."""
    if run.of_table:
        return "run the table again; only what changed is sent. The column `problem` says why"
    return f"send {them} in a new file. The failures file, which run and retry write next to their results"


def retry_or_fix(run: Run, jobs: Sequence[Job], failures: Sequence[Reason], room: Room, *to: str) -> list[Next | str]:
    """Each ``retry`` that can help, most promising first, with the further arguments ``to``; then what to fix.

    Requests with an error that another attempt can change are offered; those whose error lasts stay, to be fixed.
    """
    lasting = [failure for failure in failures if _lasts(failure, jobs)]
    steps: list[Next | str] = []
    verdicts = {failure.verdict for failure in failures if not _lasts(failure, jobs)}
    for options in _retry_options(run, verdicts, room):
        with_it = {failure.reason for failure in lasting if failure.verdict in options[1].split(",")}
        if room.full and "--max-output-tokens" in options:
            with_it.add(f"{room.full:,} at the model's limit")
        as_before = f"{', '.join(sorted(with_it))} will end as before" if with_it else ""
        steps.append(Next("retry", run.id, *options, *to, why=costing(run, as_before)))
    if room.full:
        steps.append(_to_shorten(room))
    return [*steps, _to_fix(run, lasting)] if lasting else steps


def _to_shorten(room: Room) -> str:
    """What to do about requests whose answers were cut off although they allow all that the model gives."""
    those = "1 request was" if room.full == 1 else f"{room.full:,} requests were"
    return (
        f"{those} cut off at {room.most:,} tokens, the most that {room.model} gives, so a higher limit does not help. "
        "Ask for less, or for less thinking, in a new file, or use a model that gives more."
    )


def _to_fix(run: Run, lasting: Sequence[Reason]) -> str:
    """What to do about requests that fail again however often they are sent."""
    names = ", ".join(sorted({failure.reason for failure in lasting}))
    count = sum(failure.count for failure in lasting)
    those, them, why = ("1 request", "it", "its reason")
    if count > 1:
        those, them, why = (f"{count:,} requests", "them", "their reasons")
    return (
        f"{those} failed for a reason that another attempt does not change ({names}). Fix {them} and "
        f"{_anew(run, them)}{'' if run.of_table else f', holds {them} with {why}'}."
    )


def _lasts(failure: Reason, jobs: Sequence[Job]) -> bool:
    """Whether the same requests, sent unchanged, fail again; ``jobs``: all jobs of the run."""
    if failure.reason == "JOB_FAILED":
        return all(job.error_code in LASTING_CODES for job in jobs if job.phase is Phase.FAILED)
    if failure.reason in OWN_LIMITS:
        return True
    return failure.verdict == "failed" and failure.reason in LASTING_REASONS


def _retry_options(run: Run, verdicts: set[str], room: Room) -> list[tuple[str, ...]]:
    """The options of ``retry`` for requests that ended with these verdicts, most promising first."""
    found: list[tuple[str, ...]] = []
    if "truncated" in verdicts and room.propose is not None:
        found.append(("--only", "truncated", "--max-output-tokens", str(room.propose)))
    if again := [verdict for verdict in ("empty", "invalid") if verdict in verdicts]:
        found.append(("--only", ",".join(again)))
    if "blocked" in verdicts and run.method is not Method.EMBED:  # an embedding has no temperature
        found.append(("--only", "blocked", "--temperature", "1"))
    if resent := [verdict for verdict in ("failed", "missing") if verdict in verdicts]:
        found.append(("--only", ",".join(resent)))
    return found


# How a run or a job stands --------------------------------------------------------------------------------------------


def create_anew(run: Run) -> Next | None:
    """The command that sends a run's requests as a new job; None if they were not sent from here."""
    if run.source is None:
        return None
    words = ("create", run.source, "--model", run.model, "--new", *_offline(run))
    return Next(*words, why=costing(run, "sends every request"))


def _offline(run: Run) -> tuple[str, ...]:
    return ("--offline",) if run.backend == OFFLINE else ()


def next_for_run(
    run: Run,
    state: str,
    *,
    waiting: int,
    in_doubt: bool,
    calling: bool = False,
    lost: bool = False,
    stopped: bool = False,
) -> Next:
    """What to do with a run, by its state (``RunState``) and by what is to be sent.

    ``calling``: a process sends calls, or did when it was stopped; ``lost``: its folder is gone;
    ``stopped``: someone else cancelled a job of it.
    """
    if state == "FINISHED":
        held = run.freed_at is None
        return Next("results", run.id, *_to_file(run)) if held else send_again(run, offline=run.backend == OFFLINE)
    if lost and state == "NOT_CREATED":
        if in_doubt:
            why = f"shows whether the job of {run.id} was created"
            return Next("list", "--remote", *_offline(run), why=why)
        if (anew := create_anew(run)) is not None:
            return anew
    if in_doubt or calling:
        finds = "finds out whether its job was created, and continues"
        why = costing(run, finds if in_doubt else "continues, unless another process still sends its calls")
        return Next("run", run.id, *_trial(run), why=why)
    if waiting and stopped and state != "RUNNING":
        return after_cancel(run)
    if waiting and run.requests_known:
        return Next("run", run.id, *_trial(run), why=costing(run, "sends the rest"))
    if state == "RUNNING":
        return Next("status", run.id, "--wait")
    return Next("results", run.id, *_to_file(run))


_MEANINGS = {
    1: "It was cancelled.",
    3: "The service could not use the input. Check the request format, the model and the media it refers to.",
    7: "The key may not use this model or one of the files.",
    8: "A quota was exhausted. Smaller jobs, or the same job later, usually succeed.",
    13: "The service had an internal error. The same requests usually succeed when resent.",
    14: "The service was overloaded. The same requests usually succeed when resent.",
}


class JobErrorInfo(msgspec.Struct, frozen=True):
    """The service's own error for a job, with what it probably means."""

    code: int | None
    """gRPC status code."""
    message: str | None
    """The service's message."""
    meaning: str | None
    """What the error probably means."""


def explained(seen: RemoteJob) -> JobErrorInfo | None:
    """The service's error for a job with what it probably means; None where there is none."""
    if seen.error_code is None and seen.error_message is None:
        if seen.phase is Phase.FAILED:
            return JobErrorInfo(None, None, "The service gave no reason. Resending often succeeds.")
        if seen.phase is Phase.EXPIRED:
            return JobErrorInfo(None, None, "The job did not finish within 48 hours.")
        return None
    if seen.phase is Phase.CANCELLED:
        return JobErrorInfo(seen.error_code, seen.error_message, "This is how the service reports a cancelled job.")
    return JobErrorInfo(seen.error_code, seen.error_message, _MEANINGS.get(seen.error_code or 0))


def next_for_job(seen: RemoteJob, run: Run | None, age: float | None, *, collected: bool) -> Next | None:
    """What to do with a job; ``run`` is None for one that is not in the ledger, ``age`` is in seconds."""
    if seen.phase.ended:
        if run is not None and run.freed_at is not None:
            return send_again(run, offline=run.backend == OFFLINE)
        if seen.phase is Phase.SUCCEEDED or seen.has_output or collected:
            return Next("results", seen.name, *_to_file(run))
        if run is None:
            return None
        passing = seen.phase is Phase.EXPIRED or (seen.phase is Phase.FAILED and seen.error_code in RESENT_CODES)
        if passing and run.requests_known:
            return Next("run", run.id, *_trial(run), *_to_file(run), why=costing(run, "resends its requests"))
        return Next("results", seen.name, *_to_file(run), why="names the reason for each request")
    if seen.phase is Phase.UNKNOWN:
        return Next("status", seen.name, "--wait", why="this state is not known here and counts as alive")
    if age is None or not is_stuck(age, None):
        return Next("status", seen.name, "--wait")
    return _past_its_time(seen, run, age)


def _past_its_time(seen: RemoteJob, run: Run | None, age: float) -> Next:
    """What to do with a job that is alive longer than the service aims at."""
    if run is not None and run.requests_known and run.method is Method.GENERATE and not is_vertex(run.backend):
        return finishing(run.id, age, None)
    return Next(
        "status", seen.name, "--wait",
        why="it is taking longer than the 24 hours that the service aims at; it ends on its own, at the latest when "
        "it expires; another job would wait in the same queue",
    )  # fmt: skip


# Names that lead nowhere ----------------------------------------------------------------------------------------------

#: How alike two names must be for one to be taken for a slip of the other; names of jobs are long and random.
_NEAR = 0.8


def explain_unknown(session: Session, target: KnownJob | UnknownJob, error: ApiError) -> ApiError:
    """A "no such job" of the service with what to type next; any other error as it is."""
    if error.reason_code != "job_not_found":
        return error
    if not isinstance(target, UnknownJob):
        message = (
            f"{target.name} was created here, but the service cannot find it now ({error.status}): it was deleted, "
            "or the service does not show it at the moment."
        )
        return _instead(error, message, Next("list", "--remote", why="lists the jobs that the service shows"))
    vertex = session.settings.vertex is not None
    why = "they may not see it" if vertex else "it was created with the key of another project"
    message = (
        f"The service does not know {target.name} with {session.asked_with} ({error.status}): the name is mistyped, "
        f"the job was deleted, or {why}."
    )
    near = _near(session, target.name)
    whose = "those of the project in this location" if vertex else "those of this key's project"
    listed = Next("list", "--remote", why=f"lists the jobs created here and {whose}")
    return _instead(error, message, f"Did you mean {near}?" if near else listed)


def _instead(error: ApiError, message: str, following: str | Next) -> ApiError:
    return ApiError(message, status=error.status, reason=error.reason, code=error.reason_code, next=following)


def _near(session: Session, name: str) -> str | None:
    """A job of this state folder whose name is nearly that one."""
    from difflib import get_close_matches

    if not session.state_folder.exists():
        return None
    # What is before the last part is the same for all jobs of a place.
    known = {job.batch.rpartition("/")[2]: job.batch for _, job in session.ledger().jobs() if job.batch}
    found = get_close_matches(name.rpartition("/")[2], known, n=1, cutoff=_NEAR)
    return known[found[0]] if found else None
