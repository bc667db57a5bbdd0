"""A report in words: amounts, and what they leave out. The terminal and the page say the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gemini_batch.prices import ANSWER_KINDS
from gemini_batch.report.billing import usd
from gemini_batch.report.money import bounded, left_out, price_days
from gemini_batch.report.spending.before import compared
from gemini_batch.safe_text import printable
from gemini_batch.transcript.sizes import span

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gemini_batch.report.spending.sums import Spending, SpendReport, Turnaround

#: What is paid for besides tokens.
FEE_NAMES = {"search": "Google Search", "maps": "Google Maps"}
#: So much of what an amount leaves out is named.
_NAMED = 10


def dollars(amount: float | None, *, at_least: bool = False) -> str:
    """``$0.55``, ``at least $0.55``, ``unknown``."""
    if amount is None:
        return "unknown"
    return f"{'at least ' if at_least else ''}${usd(amount)}"


def cost(one: Spending) -> str:
    """What a group cost."""
    return dollars(one.usd.batch, at_least=one.at_least)


def tokens(one: Spending) -> tuple[int, int]:
    """The tokens that were read, and those that were written."""
    written = sum(count for kind, count in one.tokens.items() if kind in ANSWER_KINDS)
    return sum(one.tokens.values()) - written, written


def wasted(one: Spending) -> str:
    """What answers cost that do not count or did not succeed; empty if there are none."""
    if one.answers == one.verdicts.get("succeeded", 0):
        return ""
    amount = sum(one.usd.wasted.values())
    return dollars(None if one.at_least and not amount else amount, at_least=one.at_least)


def interactively(one: Spending) -> str:
    """What the same would have cost outside a batch."""
    return dollars(one.usd.interactive, at_least=one.at_least)


def scope(report: SpendReport) -> str:
    """What the report is about: ``Jobs created from 2026-11-01 to 2026-11-26 (UTC)``."""
    days = f"from {report.since} to {report.until}" if report.since else f"until {report.until}"
    return f"Jobs created {days} (UTC)"


def notes(report: SpendReport) -> Iterator[str]:
    """What has to be known of the amounts, one sentence each."""
    if report.offline:
        yield "An emulator answered, so nothing was paid: this is what the answers would have cost."
    yield from _prices(report.total)
    if report.estimated is not None and not report.total.requests_open and report.since is None:
        said = compared(report.estimated)
        yield f"{said[0].upper()}{said[1:]}."
    yield from _parts(report.total)
    yield from _not_known(report)
    if report.total.turnaround is not None:
        yield f"{many(report.total.turnaround.jobs, 'job')} ended: {times(report.total.turnaround)}."


def times(took: Turnaround) -> str:
    """How long jobs took."""
    if took.jobs == 1:
        return f"it took {span(took.longest)}"
    median, ninetieth, longest = map(span, (took.median, took.ninetieth, took.longest))
    return f"median {median}, 90% within {ninetieth}, longest {longest}"


def _prices(total: Spending) -> Iterator[str]:
    """Which prices were used, and what the same costs interactively."""
    if days := price_days(total.usd):
        yield f"{days[0].upper()}{days[1:]}, those of the day on which each job was created."
    if total.usd.batch and total.usd.interactive:
        yield f"Interactively, the same would have cost {interactively(total)}: batch is {saved(total)}% less."


def _parts(total: Spending) -> Iterator[str]:
    """Parts of the amount that are no tokens, or came to nothing."""
    fees = [
        f"${usd(total.usd.by_kind[kind])} for {name}" for kind, name in FEE_NAMES.items() if kind in total.usd.by_kind
    ]
    if fees:
        yield f"Including {' and '.join(fees)}, at list price; free allowances are not deducted."
    if total.usd.wasted:
        waste = ", ".join(f"${usd(amount)} {use}" for use, amount in total.usd.wasted.items())
        yield f"Including answers that did not succeed or do not count: {waste}."


def _not_known(report: SpendReport) -> Iterator[str]:
    """What the amount leaves out, what may have been paid besides, and what may not have been paid."""
    total, missing = report.total, [*left_out(report.total.usd)]
    for words in missing[:_NAMED]:
        yield f"Not in the amount: {words}."
    if missing[_NAMED:]:
        yield f"Not in the amount: {len(missing) - _NAMED} more kinds of use (--json has all)."
    for one in report.unread:
        yield f"Not in the amount: {one.run}, which cannot be read."
    if total.unanswered:
        attempts = many(total.unanswered, "attempt")
        possibly = "Would possibly have been paid" if report.offline else "Possibly paid"
        yield f"{possibly}: {attempts} that ended without an answer, {bounded(total.possibly_paid)}."
    if total.requests_open:
        requests = many(total.requests_open, "request")
        yield f"Not known yet: {requests} in jobs that are alive or not collected, {bounded(total.open_usd)}."
    for address, jobs in report.elsewhere.items():
        yield f"{many(jobs, 'job')} at {printable(address)}: counted at Google's prices; what it asks is not known."
    if report.emulated:
        yield f"Left out: {many(len(report.emulated), 'run')} that an emulator answered, and nobody paid for."


def saved(total: Spending) -> int:
    """By how many percent a batch is cheaper; both amounts are known."""
    assert total.usd.batch is not None
    assert total.usd.interactive is not None
    return round(100 * (total.usd.interactive - total.usd.batch) / total.usd.interactive)


def many(count: int, noun: str) -> str:
    """``1 job``, ``2 jobs``."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"
