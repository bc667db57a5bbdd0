"""A row with its prompt and its answer as text for people: next to each other, or one below the other."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from gemini_batch.cli.outcome import clean
from gemini_batch.cli.wording import DOT
from gemini_batch.report.money import amount, left_out
from gemini_batch.safe_text import printable
from gemini_batch.transcript.sizes import counted

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rich.console import Console
    from rich.text import Text

    from gemini_batch.commands.shown_row import ShownRow
    from gemini_batch.transcript.turns import Turn

#: Columns from which prompt and answer are shown next to each other.
SIDE_BY_SIDE = 80
_PLACES = {
    "remembered": "answered before, in another run",
    "copied": "the same as {copied_from}, whose answer counts",
    "elsewhere": "in a job of another run, which is alive",
    "held_back": "left out by --limit or --sample",
    "in_job": "in {job}, which is alive",
    "not_collected": "in {job}, which has ended; its answers are not collected yet",
    "in_doubt": "a create call for it got no answer, so it may have been sent",
    "calling": "sent as a call, by a command that is running or was stopped; its answer is not collected yet",
    "to_be_resent": "waits to be sent again",
    "not_sent": "not sent yet",
    "damaged": "its answer file was changed",
}
_STYLES = {"succeeded": "green", None: "cyan", "truncated": "yellow", "missing": "magenta"}


def header(row: ShownRow) -> Iterator[str]:
    """What is known of a row besides its texts, most important first; the first is its key."""
    yield printable(row.key)
    if row.verdict is not None:
        yield row.verdict if row.verdict == "succeeded" else printable(f"{row.verdict}: {row.reason}")
    if place := _PLACES.get(row.place):
        yield printable(place.format(job=row.job or "a job", copied_from=row.copied_from))
    if row.attempts:
        yield counted(row.attempts, "attempt")
    if row.answer is not None or row.attempts:
        yield printable(row.model or row.asked)
    yield from _cost(row)


def _cost(row: ShownRow) -> Iterator[str]:
    """Tokens and money of all attempts; what is not known is said to be unknown."""
    t = row.tokens
    if t is not None and t.unknown and not (t.input or t.output or t.thoughts):
        yield "tokens unknown"
    elif t is not None:
        kinds = ((t.input, "in"), (t.output, "out"), (t.thoughts, "thoughts"), (t.tool_use, "tool use"))
        words = [f"{count:,} {kind}" for count, kind in kinds if count or kind in {"in", "out"}]
        yield f"tokens: {', '.join(words)}"
    if row.place in {"remembered", "copied"}:
        yield "paid for elsewhere" if row.place == "remembered" else "paid for once"
        return
    if t is None and not row.unanswered:
        return
    if row.emulated:
        yield "nothing was paid (offline)" if row.usd.batch is None else f"{amount(row.usd)} not paid (offline)"
        return
    yield amount(row.usd)
    yield from left_out(row.usd)
    if row.unanswered:
        yield f"{counted(row.unanswered, 'attempt')} without an answer may have been billed as well"


def as_text(row: ShownRow) -> str:
    """A row for a pipe: no colours, and no line is broken."""
    lines = [DOT.join(header(row))]
    if row.message:
        lines.append(f"  {printable(row.message)}")
    for name, turns in _sides(row):
        lines.append(name)
        for label, text in _labelled(turns, name):
            lines += [f"  {label}:"] if label else []
            lines += [f"  {line}" for line in clean(text).split("\n")]
    return "\n".join(lines) + "\n\n"


def on_screen(row: ShownRow, width: int, *, colours: bool) -> str:
    """A row for a terminal of that width."""
    from rich.padding import Padding
    from rich.table import Table
    from rich.text import Text

    console = _console(width, colours=colours)
    first, *rest = header(row)
    style = _STYLES.get(row.verdict, "red")
    head = Text.assemble((first, "bold"))
    for number, part in enumerate(rest):
        head.append(DOT, style="dim").append(part, style=style if number == 0 else "")
    console.print(head, overflow="fold")
    if row.message:
        console.print(Text(printable(row.message), style=style), overflow="fold")
    sides = [(name, _text(turns, name)) for name, turns in _sides(row)]
    if width >= SIDE_BY_SIDE:
        grid = Table.grid(padding=(0, 4, 0, 0), expand=True)
        for _ in sides:
            grid.add_column(ratio=1, overflow="fold")
        grid.add_row(*(_heading(name) for name, _ in sides))
        grid.add_row(*(text for _, text in sides))
        console.print(grid)
    else:
        for name, text in sides:
            console.print(_heading(name))
            console.print(Padding(text, (0, 0, 0, 2)), overflow="fold")
    file = console.file
    assert isinstance(file, io.StringIO)
    return "".join(f"{line.rstrip()}\n" for line in file.getvalue().split("\n")[:-1]) + "\n"


def _console(width: int, *, colours: bool) -> Console:
    """Writes to memory, exactly as wide as the terminal."""
    from rich.console import Console

    return Console(
        file=io.StringIO(),
        width=width,
        force_terminal=colours,
        color_system="standard" if colours else None,
        no_color=not colours,
        markup=False,
        emoji=False,
        highlight=False,
        legacy_windows=False,
    )


def _sides(row: ShownRow) -> Iterator[tuple[str, Sequence[Turn] | str]]:
    yield "prompt", "(unknown: the job was created elsewhere)" if row.prompt is None else row.prompt
    yield "answer", row.answer or "(none)"


def _labelled(turns: Sequence[Turn] | str, side: str) -> Iterator[tuple[str | None, str]]:
    """Each text with who says it; a text that is alone, and said by who is expected there, needs no label."""
    if isinstance(turns, str):
        yield None, turns
        return
    alone = len(turns) == 1 and turns[0].role == {"prompt": "user", "answer": "model"}[side]
    for turn in turns:
        yield None if alone else printable(turn.role), turn.text


def _heading(name: str) -> Text:
    from rich.text import Text

    return Text.assemble((name, "dim underline"))  # the style of a whole text reaches to the end of its column


def _text(turns: Sequence[Turn] | str, side: str) -> Text:
    from rich.text import Text

    text = Text()
    for label, words in _labelled(turns, side):
        if text:
            text.append("\n")
        if label:
            text.append(f"{label}:\n", style="bold dim")
        text.append(clean(words))
    return text
