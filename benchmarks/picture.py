"""The time and the memory of a row, as an SVG picture that follows the reader's light or dark theme. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from benchmarks.lines import Line

_PANEL_WIDTH, _PANEL_HEIGHT, _LEFT, _TOP, _GAP, _RIGHT = 250, 170, 52, 46, 130, 78
_STYLE = """
text { font: 12px system-ui, sans-serif; fill: var(--text) }
.title { font-weight: 600 } .faint { fill: var(--faint) }
.grid { stroke: var(--grid); stroke-width: 1 }
polyline { fill: none; stroke-width: 2 }
polyline.create { stroke: var(--create) } polyline.results { stroke: var(--results) }
circle.create, text.create { fill: var(--create) } circle.results, text.results { fill: var(--results) }
svg { --text: #1f2328; --faint: #59636e; --grid: #d1d9e0; --create: #0969da; --results: #bc4c00; --ground: #ffffff }
@media (prefers-color-scheme: dark) {
  svg { --text: #f0f6fc; --faint: #9198a1; --grid: #3d444d; --create: #4493f8; --results: #f0883e; --ground: #0d1117 }
}
.ground { fill: var(--ground) }
"""


@dataclass(frozen=True, slots=True)
class _Panel:
    """One chart: powers of ten along x, from zero along y."""

    title: str
    left: float
    first: float
    last: float
    most: float

    def x(self, rows: float) -> float:
        """The place of a number of rows."""
        span = math.log10(self.last / self.first) or 1.0
        return self.left + _PANEL_WIDTH * math.log10(rows / self.first) / span

    def y(self, value: float) -> float:
        """The place of a value."""
        return _TOP + _PANEL_HEIGHT * (1 - value / self.most)


def picture(lines: Sequence[Line]) -> str:
    """The lines of ``growth``: ``create`` and ``results``, microseconds a row and megabytes at most."""
    width = _LEFT + 2 * _PANEL_WIDTH + _GAP + _RIGHT
    height = _TOP + _PANEL_HEIGHT + 52
    parts = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
            'role="img" aria-label="Time a row and peak memory of create and results, by the number of rows">'
        ),
        f"<style>{_STYLE}</style>",
        f'<rect class="ground" width="{width}" height="{height}" rx="6"/>',
    ]
    for number, (unit, title) in enumerate((("µs", "Microseconds a row"), ("MB", "Peak memory in MB"))):
        series = _series(lines, unit)
        every = [point for points in series.values() for point in points]
        rows = [point[0] for point in every]
        panel = _Panel(
            title,
            _LEFT + number * (_PANEL_WIDTH + _GAP),
            min(rows),
            max(rows),
            _round_up(max(value for _, value in every)),
        )
        parts += _drawn(panel, series)
    return "\n".join([*parts, "</svg>\n"])


def _series(lines: Sequence[Line], unit: str) -> dict[str, list[tuple[float, float]]]:
    """Points (rows, value) by command; the command is the first word of a line's name, in backticks."""
    series: dict[str, list[tuple[float, float]]] = {}
    for line in lines:
        if line.unit == unit:
            series.setdefault(line.name.split("`")[1], []).append((line.work, line.ours))
    return series


def _round_up(value: float) -> float:
    """The next 1, 2 or 5 with zeros, so that the axis has round numbers."""
    unit = 10.0 ** math.floor(math.log10(value))
    return next(step * unit for step in (1, 2, 5, 10) if step * unit >= value)


def _drawn(panel: _Panel, series: Mapping[str, Sequence[tuple[float, float]]]) -> Iterator[str]:
    yield f'<text class="title" x="{panel.left}" y="{_TOP - 22}">{panel.title}</text>'
    for step in range(5):
        value = panel.most * step / 4
        y = panel.y(value)
        yield f'<line class="grid" x1="{panel.left}" x2="{panel.left + _PANEL_WIDTH}" y1="{y:.1f}" y2="{y:.1f}"/>'
        yield f'<text class="faint" text-anchor="end" x="{panel.left - 8}" y="{y + 4:.1f}">{value:g}</text>'
    rows = panel.first
    while rows <= panel.last:
        at = f'x="{panel.x(rows):.1f}" y="{_TOP + _PANEL_HEIGHT + 20}"'
        yield f'<text class="faint" text-anchor="middle" {at}>{rows:,.0f}</text>'
        rows *= 10
    middle = panel.left + _PANEL_WIDTH / 2
    yield f'<text class="faint" text-anchor="middle" x="{middle}" y="{_TOP + _PANEL_HEIGHT + 40}">rows</text>'
    ends = sorted((points[-1][1], command) for command, points in series.items())
    for command, points in series.items():
        places = [(panel.x(rows), panel.y(value)) for rows, value in points]
        yield f'<polyline class="{command}" points="{" ".join(f"{x:.1f},{y:.1f}" for x, y in places)}"/>'
        for x, y in places:
            yield f'<circle class="{command}" cx="{x:.1f}" cy="{y:.1f}" r="4"/>'
        # Labels of lines that end close together are kept apart.
        aside = 5 if ends[0][1] == command else -5
        x, y = places[-1]
        yield f'<text class="{command}" x="{x + 10:.1f}" y="{y + 4 + aside:.1f}">{command}</text>'
