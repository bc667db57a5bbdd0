"""``results.md``, one table of what was measured, and the figures that the docs quote from it. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.lines import MEGABYTE

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from benchmarks.lines import Goal, Line
    from benchmarks.results import Machine, Part

_HEAD = """# Measured

`make bench` writes this page; [its description](README.md) says what each line means. Times are medians of whole
processes that ran in alternation on the same machine. They depend on the machine; the ratios describe this tool. A
ratio of 2 means that the baseline needs twice as much. Memory is the peak of a process and of those that it started.

| what | ours | baseline | | ratio | peak memory: ours, baseline | goal | reached |
| --- | --- | --- | --- | --- | --- | --- | --- |
"""

_BEGIN, _END = "<!-- figures: `make bench` writes them -->", "<!-- end of the figures -->"


def page(parts: Mapping[str, Part], titles: Mapping[str, str], reasons: Mapping[str, str]) -> str:
    """The whole page; ``titles`` are the parts in their order."""
    rows = [row for name, title in titles.items() if name in parts for row in _part(title, parts[name], reasons)]
    return _HEAD + "\n".join(rows) + "\n\n" + "\n".join(_measured(parts, titles)) + "\n"


def quoted(
    text: str, parts: Mapping[str, Part], titles: Mapping[str, str], only: Sequence[tuple[str, str]] | None = None
) -> str:
    """A page of the docs, with the figures between its two marks renewed: every comparison that has a goal.

    ``only``: how the names of the lines begin that it quotes, and those of their baselines.
    """
    rows = [
        f"| {line.name} | {ours(line)} | {line.baseline} | {amount(line.theirs, line.unit)} | "
        f"{significant(line.ratio)} |"
        for name in titles
        if name in parts
        for line in parts[name].lines
        if line.goal.ratio is not None and line.theirs is not None and line.ratio is not None
        if only is None or any(line.name.startswith(what) and line.baseline.startswith(base) for what, base in only)
    ]
    before, _, rest = text.partition(_BEGIN)
    _, _, after = rest.partition(_END)
    table = ("| what | ours | baseline | its time | ratio |", "| --- | --- | --- | --- | --- |", *rows)
    return f"{before}{_BEGIN}\n\n{chr(10).join(table)}\n\n{_END}{after}"


def unexplained(line: Line, reasons: Mapping[str, str]) -> bool:
    """Whether a goal was missed, and nothing says why."""
    return bool(line.missed()) and line.name not in reasons


def _part(title: str, part: Part, reasons: Mapping[str, str]) -> Iterator[str]:
    yield f"| **{title}** | | | | | | | |"
    before = ""
    for line in part.lines:
        name = line.name if line.name != before else ""  # compared with a further baseline
        before = line.name
        cells = (
            name + (f" ({line.note})" if line.note and name else ""),
            ours(line) if name else "",
            line.baseline,
            amount(line.theirs, line.unit) if line.theirs is not None else line.note if line.baseline else "",
            "" if line.ratio is None else f"**{significant(line.ratio)}**",
            _memory(line),
            goal_words(line.goal, line.work_unit, line.unit),
            _reached(line, reasons),
        )
        yield f"| {' | '.join(cells)} |".replace("  ", " ")


def ours(line: Line) -> str:
    """What we took, and the rate, if the work is stated."""
    rated = f" ({significant(line.rate)} {line.work_unit}/s)" if line.work and line.unit == "s" else ""
    return amount(line.ours, line.unit) + rated


def amount(value: float, unit: str) -> str:
    """A value in the unit that reads best."""
    if unit == "s" and value < 1:
        value, unit = 1000 * value, "ms"
    return f"{significant(value)} {unit}"


def significant(value: float) -> str:
    """Three digits, or all before the point."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def _memory(line: Line) -> str:
    return ", ".join(f"{peak / MEGABYTE:,.0f} MB" for peak in (line.peak, line.their_peak) if peak)


def goal_words(goal: Goal, work_unit: str, unit: str) -> str:
    """A goal in words."""
    words = []
    if goal.ratio is not None:
        words.append(f"at least {goal.ratio:g}")
    if goal.below is not None:
        words.append(f"below {goal.below:g} {unit}")
    if goal.per_second is not None:
        words.append(f"at least {goal.per_second:,.0f} {work_unit}/s")
    if goal.memory is not None:
        words.append(f"below {goal.memory / MEGABYTE:g} MB")
    if goal.memory_share is not None:
        words.append(f"at most {goal.memory_share:g} of its memory")
    return "; ".join(words)


def _reached(line: Line, reasons: Mapping[str, str]) -> str:
    if not (missed := line.missed()):
        return "yes" if goal_words(line.goal, line.work_unit, line.unit) else ""
    why = f". {reasons[line.name]}" if line.name in reasons else ""
    return f"**no**: {', '.join(missed)}{why}"


def _measured(parts: Mapping[str, Part], titles: Mapping[str, str]) -> Iterator[str]:
    """When, where and with which versions; parts that agree in all that share a line."""
    agreeing: dict[str, list[str]] = {}
    for name in titles:
        if name in parts:
            part = parts[name]
            sizes = "".join(f"; {size} = {value:,}" for size, value in part.changed.items())
            number = titles[name].partition(".")[0]
            agreeing.setdefault(f"{part.date}, {_machine(part.machine)}{sizes}", []).append(number)
    for words, names in agreeing.items():
        yield f"- Parts {', '.join(names)}: {words}."


def _machine(machine: Machine) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in machine.versions.items())
    return f"{machine.system}, {machine.cores} cores, {machine.memory} GB; Python {machine.python}, {versions}"
