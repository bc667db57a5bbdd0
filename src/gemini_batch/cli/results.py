"""``gemini-batch results``."""

from __future__ import annotations

import sys
from contextlib import closing
from typing import TYPE_CHECKING, Any

import click

from gemini_batch.cli.common import JOB_NAME, STYLE, call_method, is_stdout, verb
from gemini_batch.cli.outcome import clean, invoked
from gemini_batch.cli.screen import screen_width
from gemini_batch.cli.wording import failure_line, place
from gemini_batch.transcript.sizes import counted

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from gemini_batch.cli.screen import Screen
    from gemini_batch.client import GeminiBatch
    from gemini_batch.errors import Next
    from gemini_batch.report.result_set import Results
    from gemini_batch.report.summary import Summary

_PREVIEW = 20
#: So many groups of failures are shown.
_FAILURES_SHOWN = 10
#: So much of what a cost leaves out is named.
_DETAILS_SHOWN = 5
#: What is paid for besides tokens.
_FEES = {"search": "Google Search", "maps": "Google Maps"}


def _spelt(_context: click.Context, _option: click.Parameter, output: str | None) -> str | None:
    return "-" if is_stdout(output) else output


def _fetch(batch: GeminiBatch, *, output: str | None, as_json: bool, **options: Any) -> Results:
    if as_json and output == "-":
        raise click.UsageError("--json and -o - cannot be combined: both write to stdout")
    found: Results = call_method(batch, "results", output=None if output == "-" else output, **options)
    return found


def exit_code(found: Results, **_: object) -> int:
    """0: every request succeeded; 1: some did not; 5: there are no answers."""
    return found.summary.exit_code


def _document(found: Results, *, output: str | None, raw: bool, **_: object) -> dict[str, object]:
    import msgspec

    from gemini_batch.jsonl import loads

    preview = None
    if output is None:
        # The service's own lines are not always strict JSON; the document is.
        preview = [loads(line) if raw else msgspec.Raw(line) for line in found.lines(limit=_PREVIEW)]
    return {"result": found.summary, "output": output, "preview": preview}


@verb(
    "results",
    JOB_NAME,
    click.option(
        "--output",
        "-o",
        metavar="FILE",
        callback=_spelt,
        help="Write all results to FILE: a table if it ends in .csv, .tsv, .parquet, .ndjson, .db or .xlsx, else "
        "result lines; - for stdout.",
    ),
    *STYLE,
    click.option("--as", "prefix", metavar="NAME", help="In a table, begin the names of the new columns with NAME_."),
    click.option("--job-only", is_flag=True, help="Only the answers of this job, not those of its whole run."),
    click.option(
        "--accept-incomplete",
        is_flag=True,
        help="Take the answers of a job that gives fewer than the service counts; the other requests become missing.",
    ),
    click.option("--media-dir", metavar="DIR", help="Write the images and speech of these lines to files in DIR."),
    click.option("--raw", is_flag=True, help="The service's own lines, unchanged, for readers of its format."),
    call=_fetch,
    document=_document,
    ends=exit_code,
    uses_stdout=lambda output, as_json, **_: as_json or output in {None, "-"},
)
def command(
    found: Results,
    screen: Screen,
    *,
    output: str | None,
    raw: bool,
    output_dir: str | None,
    details: bool,
    spreadsheet: bool,
    **_: object,
) -> None:
    """Fetch the answers of a run, named by its id or by any of its jobs: one line per key, in input order.

    A line is {"key": …, "verdict": …, "response": {…, "text": …}, "error": …, "attempt": n}; every line whose verdict
    is not "succeeded" has an error. With --raw, a line is what the service sent, and a request that it did not answer
    has none. Without -o, the first 20 lines are shown. Exits with 0 if every request succeeded, 1 if some did not, 5 if
    there are no answers, 6 if a job has not finished.
    """
    from gemini_batch.report.result_set import TableStyle

    summary = found.summary
    if output in {None, "-"}:
        _print(found, limit=_PREVIEW if output is None else None)
        if output is None and len(found) > _PREVIEW:
            screen.say(f"… the first {_PREVIEW} of {len(found):,} lines; -o FILE writes all of them.")
    for line in summary_lines(summary, output, output_dir):
        screen.say(line)
    if raw and len(found) < summary.requests:
        screen.say(f"{counted(summary.requests - len(found), 'request')} without a line: the service has not answered.")
    for line in step_lines(summary, output, TableStyle(details=details, spreadsheet=spreadsheet).words):
        screen.say(line)


def _print(found: Results, *, limit: int | None) -> None:
    out, terminal = sys.stdout.buffer, sys.stdout.isatty()
    with closing(found.lines(limit=limit)) as lines:
        for line in lines:
            out.write(clean(line.decode()).encode() if terminal else line)
            out.write(b"\n")
    out.flush()


def summary_lines(summary: Summary, output: str | None, output_dir: str | None = None) -> Iterator[str]:
    """The summary for people: counts by verdict, tokens by kind, money, and where the failures are."""
    where = place(summary.backend)
    if summary.offline:
        where = " · offline: generated here, nothing was paid"
    elif summary.emulated:
        where = place(summary.backend, " · answered by an emulator at ") + ", not by Google"
    yield f"{summary.job or summary.run} · {summary.state} · {summary.model}{where}"
    verdicts = ", ".join(f"{count:,} {verdict}" for verdict, count in summary.verdicts.items())
    yield f"{counted(summary.requests, 'request')}: {verdicts or 'no answers'}"
    width = screen_width()
    for failure in summary.failures[:_FAILURES_SHOWN]:
        yield failure_line(failure, width)
    if more := sum(failure.count for failure in summary.failures[_FAILURES_SHOWN:]):
        yield f"  … and {counted(more, 'more request')} for other reasons (--json has all)"
    for other in summary.answered_by[:10]:
        yield f"  {counted(other.answers, 'answer')} by {other.model}; {other.asked} was asked"
    for reason, count in summary.skipped.items():
        rows = "row was" if count == 1 else "rows were"
        yield f"  {count:,} {rows} never sent: {reason} (verdict skipped)"
    yield from _not_sent(summary)
    if summary.error and summary.failures:
        yield f"  the service's error for the job: {summary.error}"
    if summary.unknown_keys:
        yield f"  {counted(summary.unknown_keys, 'more request')} without a line; their keys are unknown here"
    for reason, count in summary.quarantined.items():
        belong = "belongs to no request" if count == 1 else "belong to no request"
        yield f"  {counted(count, 'answer line')} that {belong} ({reason}), kept in {summary.folder}/raw"
    if summary.repeated:
        yield f"  {counted(summary.repeated, 'extra answer')}; for each key, the first one that succeeded counts"
    t = summary.tokens
    kinds = [
        ("input", t.input),
        ("of which cached", t.cached),
        ("output", t.output),
        ("thoughts", t.thoughts),
        ("tool use", t.tool_use),
    ]
    yield (
        "tokens: "
        + ", ".join(f"{count:,} {kind}" for kind, count in kinds if count or kind in {"input", "output"})
        + (f"; {counted(t.unknown, 'answer')} without token counts" if t.unknown else "")
    )
    yield from _money(summary)
    yield from _besides(summary)
    yield from _written(output, output_dir)


def _written(output: str | None, output_dir: str | None) -> Iterator[str]:
    if output not in {None, "-"}:
        yield f"Written: {output}"
    if output_dir is not None:
        yield f"Written: a file for each text, in {output_dir}"


def _not_sent(summary: Summary) -> Iterator[str]:
    """What was not sent, and why; and what need not have been."""
    if summary.remembered:
        yield f"  {counted(summary.remembered, 'request')} answered before, in another run, and not paid for here"
    if summary.held_back:
        yield f"  {counted(summary.held_back, 'more request')} not sent: left out by --limit or --sample"
    if left := summary.not_sent - summary.held_back:
        yield f"  {counted(left, 'request')} of the run {'has' if left == 1 else 'have'} not been sent yet"
    if summary.repeats:
        yield f"  {_identical(summary)}"


def _identical(summary: Summary) -> str:
    """What ``--dedupe`` would save."""
    from gemini_batch.report.billing import usd

    share = summary.identical / max(1, summary.requests)
    saves = (
        f", and cost about ${usd(summary.usd.batch * share)} less" if summary.usd.batch and not summary.offline else ""
    )
    return f"{counted(summary.identical, 'request')} repeat another one; with --dedupe they would not be sent{saves}"


def step_lines(summary: Summary, output: str | None, style: Sequence[str], first: str = "Next") -> Iterator[str]:
    """What to do about rows that did not succeed, one step a line; ``first`` is the word before the first of them.

    ``style``: the options that said how the output is written.
    """
    for number, step in enumerate(summary.next_steps):
        yield f"{'Then' if number else first}: {_next_step(step.next, output, style)}"


def _next_step(following: Next | str, output: str | None, style: Sequence[str]) -> str:
    """What helps, as this user can type it; a command writes the file that was asked for, in the same way."""
    if isinstance(following, str):
        return following
    return invoked(following if output in {None, "-"} else following.writing_to(output or "", *style))


def _besides(summary: Summary) -> Iterator[str]:
    """What may have been paid besides, and what was expected."""
    from gemini_batch.report.money import bounded
    from gemini_batch.report.spending.before import compared

    if summary.unanswered:
        attempts = counted(summary.unanswered, "attempt")
        possibly = "would possibly have been paid" if summary.emulated else "possibly paid"
        yield f"{possibly}: {attempts} that ended without an answer, {bounded(summary.possibly_paid)}"
    if summary.estimated is not None and summary.not_sent == summary.held_back:
        yield compared(summary.estimated)


def _money(summary: Summary) -> Iterator[str]:
    """The cost, what it leaves out, what it has besides tokens, and how much of it came to nothing."""
    from gemini_batch.report.billing import usd
    from gemini_batch.report.money import amount, left_out, price_days

    money = summary.usd
    if not summary.answered:
        yield "cost: unknown (no answers, so no token counts)"
        return
    details = [*left_out(money)]
    would = "would have been " if summary.emulated else ""
    shown = "unknown" if money.batch is None else f"{would}{amount(money)} in batch"
    if money.batch is not None and money.interactive:
        saved = round(100 * (money.interactive - money.batch) / money.interactive)
        shown += f" ({saved}% less than ${usd(money.interactive)} interactively)"
    if days := price_days(money):
        shown += f", {days}"
    yield "; ".join((f"cost: {shown}", *details[:_DETAILS_SHOWN]))
    if (more := len(details) - _DETAILS_SHOWN) > 0:
        yield f"  … and {more} more that the amount leaves out (--json has all)"
    if fees := [f"${usd(money.by_kind[kind])} for {words}" for kind, words in _FEES.items() if kind in money.by_kind]:
        yield f"  including {' and '.join(fees)}, at list price; free allowances are not deducted"
    if money.wasted:
        waste = ", ".join(f"${usd(cost)} {use}" for use, cost in money.wasted.items())
        yield f"  including answers that did not succeed or do not count: {waste}"
