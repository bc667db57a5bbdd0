"""An estimate in words: two lines before a run is sent, and a few more for ``estimate``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gemini_batch.catalog import Method
from gemini_batch.report.billing import usd
from gemini_batch.transcript.sizes import counted, span

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gemini_batch.commands.estimate import Estimate, TokenRange


def all_lines(found: Estimate) -> Iterator[str]:
    """Everything that is known, for people."""
    yield f"{counted(found.requests, 'request')} for {found.model}{_others(found)}."
    for reason, count in found.skipped.items():
        yield f"{counted(count, 'row')} of the table {'is' if count == 1 else 'are'} not sent: {reason}."
    if not found.requests:
        return
    yield from main_lines(found)
    yield _jobs(found)


def main_lines(found: Estimate) -> Iterator[str]:
    """What will be used, and what it costs: two lines."""
    said = f"Tokens: {_tokens(found.prompt_tokens)} in prompts ({_prompts(found)})"
    if found.method is not Method.EMBED:
        said += f", {_tokens(found.answer_tokens)} in answers ({_answers(found)})"
    if found.unknown_media:
        said += f"; {counted(found.unknown_media, 'attachment')} or tools of unknown length not included"
    if found.unmeasured:
        said += f"; not measured: {', '.join(found.unmeasured)}"
    yield f"{said}."
    yield _cost(found)


def _others(found: Estimate) -> str:
    parts = [
        f"{count:,} {what}"
        for count, what in (
            (found.remembered, "answered before"),
            (found.elsewhere, "in jobs of other runs"),
            (found.held_back, "held back by --limit or --sample"),
            (found.copies, "identical to others"),
        )
        if count
    ]
    return f"; {', '.join(parts)}" if parts else ""


def _tokens(tokens: TokenRange) -> str:
    if tokens.expected is None:
        if tokens.high is not None:
            return f"at most {_short(tokens.high)}"
        return f"at least {_short(tokens.low)}" if tokens.low else "an unknown number"
    around = ""
    if tokens.high is not None and tokens.low != tokens.high:
        around = (
            f" ({_short(tokens.low)} to {_short(tokens.high)})" if tokens.low else f" (at most {_short(tokens.high)})"
        )
    return f"about {_short(tokens.expected)}{around}"


def _prompts(found: Estimate) -> str:
    match found.prompt_basis:
        case "learned":
            return f"estimated, corrected by {counted(found.prompts_known, 'count')} from here"
        case "counted" if found.prompts_known >= found.requests:
            return "counted"
        case "counted":
            return f"from {found.prompts_known:,} that were counted"
        case _:
            return "estimated"


def _answers(found: Estimate) -> str:
    match found.answer_basis:
        case "trial":
            return f"from {counted(found.answers_known, 'answer')} of this run"
        case "history":
            return f"from {counted(found.answers_known, 'answer')} to requests of this kind"
        case _:
            return "nothing is known of such answers yet; a trial with --limit 20 tells"


def _cost(found: Estimate) -> str:
    days = f"; prices of {found.price.date}" if found.price and found.price.date else ""
    own = "; your own prices" if found.price and found.price.own else ""
    if found.usd.expected is not None:
        low, high = found.usd.low, found.usd.high
        around = "" if high is None else f" (${usd(low)} to ${usd(high)})" if low else f" (at most ${usd(high)})"
        outside = f", ${usd(found.interactive_usd)} interactively" if found.interactive_usd is not None else ""
        apart = f", including about ${usd(found.charges_usd)} for searches" if found.charges_usd else ""
        return f"Cost: about ${usd(found.usd.expected)}{around} in batch{apart}{outside}{days}{own}."
    if found.usd.high is not None:
        return f"Cost: at most ${usd(found.usd.high)} in batch{days}{own}."
    if found.usd.low is None:
        return f"Cost: unknown; there is no price for {found.model}."
    least = f"; at least ${usd(found.usd.low)} in batch" if found.usd.low else ""
    return f"Cost: unknown{least}{days}{own}."


def _jobs(found: Estimate) -> str:
    took = "" if found.usual_seconds is None else f"; such a job has usually taken {span(found.usual_seconds)} here"
    queue = ""
    if found.tier_tokens is not None and found.prompt_tokens.expected is not None:
        rounds = -(-found.prompt_tokens.expected // found.tier_tokens)
        queue = f"; the tier allows {_short(found.tier_tokens)} tokens in the queue"
        queue += ", all at once" if rounds <= 1 else f", so they are sent in about {rounds} rounds"
    return f"{counted(found.jobs, 'job')}{queue}{took}."


def _short(count: int) -> str:
    """``950``, ``12,300``, ``1.25 M``."""
    if count >= 1_000_000:
        return f"{count / 1_000_000:,.2f} M"
    return f"{count:,}" if count < 10_000 else f"{round(count, -2):,}"
