"""Charts as SVG, drawn by pygal and reduced to shapes and text: no script, no style, no address, nothing from outside.

Colours and fonts come from the page, so that a chart is right in its light and its dark form.
"""

from __future__ import annotations

import math
import sys
from typing import TYPE_CHECKING, Any, NamedTuple
from xml.etree import ElementTree as ET

from gemini_batch.tables.extra import needed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

#: Width and height of a chart: in the page's full width, in half of it, and on a phone. In pixels.
FULL, HALF, PHONE = (1000, 300), (480, 260), (330, 240)
#: So many labels fit below each of them.
_LABELS = {FULL: 16, HALF: 9, PHONE: 5}
_FONT = 12
_TAGS = frozenset({"svg", "g", "path", "rect", "text"})
_ATTRIBUTES = ("class", "d", "x", "y", "width", "height", "rx", "ry", "transform", "viewBox")
_WHAT, _INSTALL = "A page with charts", "'gemini-batch[report]'"
#: What pygal adds for its script and its titles.
_SPARE = ("overlay", "titles", "background")


class Series(NamedTuple):
    """The bars of one colour: a name, the class of its colour, and for each label a value with what it says."""

    name: str
    colour: str
    values: Sequence[tuple[float | None, str]]


def check_library() -> None:
    """Raises UsageError with the line that installs what pages need."""
    _library()
    template_engine()


def template_engine() -> Any:
    """Jinja, which makes pages. Raises UsageError."""
    return needed("jinja2", _WHAT, _INSTALL)


def _library() -> Any:
    """Pygal, without the import hook that it leaves behind: it is for maps, and Python warns of it at every import."""
    pygal = needed("pygal", _WHAT, _INSTALL)
    sys.meta_path[:] = [finder for finder in sys.meta_path if type(finder).__module__ != "pygal"]
    return pygal


def bars(
    labels: Sequence[str],
    series: Sequence[Series],
    *,
    size: tuple[int, int],
    title: str,
    tick: Callable[[float], str],
    whole: bool = True,
    sideways: bool = False,
) -> str:
    """Bars, stacked if there are several series.

    ``tick``: a value in words; ``whole``: values are counts; ``sideways``: the labels are names.
    """
    pygal = _library()
    kind = pygal.HorizontalStackedBar if sideways else pygal.StackedBar
    width, height = size
    every = 1 if sideways else -(-len(labels) // _LABELS[size])
    chart = kind(
        js=(),
        width=width,
        height=height,
        margin=4,
        spacing=6,
        rounded_bars=2,
        show_legend=False,
        value_formatter=tick,
        style=pygal.style.Style(label_font_size=_FONT, major_label_font_size=_FONT, font_family="sans-serif"),
        disable_xml_declaration=True,
        x_labels_major_every=every,
        show_minor_x_labels=every == 1,
        truncate_label=40,
        no_data_text="",
    )
    heights = [sum(one.values[at][0] or 0 for one in series) for at in range(len(labels))]
    chart.y_labels = ticks(max(heights, default=0), whole=whole)
    chart.range = (0, chart.y_labels[-1])
    chart.x_labels = list(reversed(labels)) if sideways else list(labels)
    for one in series:
        values = [{"value": value, "label": words} for value, words in one.values]
        chart.add(one.name, values[::-1] if sideways else values)
    return _reduced(chart.render(is_unicode=True), title, [one.colour for one in series])


def ticks(highest: float, *, whole: bool) -> list[float]:
    """Round values from 0 to the first that is not below ``highest``, two to six of them; ``whole``: integers."""
    if highest <= 0:
        return [0, 1]
    power = 10.0 ** math.floor(math.log10(highest))
    steps = (factor * power for factor in (0.2, 0.25, 0.5, 1, 2))
    step = next(one for one in steps if highest <= 5 * one and (not whole or one.is_integer()))
    return [step * at for at in range(math.ceil(round(highest / step, 9)) + 1)]


def _reduced(svg: str, title: str, colours: Sequence[str]) -> str:
    """Only shapes, text and their places; what each bar says becomes its tooltip."""
    drawn = ET.fromstring(svg)  # noqa: S314 - pygal has just made it
    root = ET.Element("svg", {"role": "img", "aria-label": title, "viewBox": drawn.get("viewBox", "")})
    names = {f"color-{at}": colour for at, colour in enumerate(colours)}
    root.extend(_copies(drawn, names))
    return ET.tostring(root, encoding="unicode")


def _copies(parent: Any, names: dict[str, str]) -> Iterator[Any]:
    for child in parent:
        tag = str(child.tag).rpartition("}")[2]
        classes = child.get("class", "").split()
        if tag not in _TAGS or any(spare in classes or f"{spare}s" in classes for spare in _SPARE):
            continue
        if any(one.endswith("overlay") for one in classes) or _is_nothing(child, tag):
            continue
        copy = ET.Element(tag, {name: _short(child.get(name)) for name in _ATTRIBUTES if child.get(name)})
        if classes:
            copy.set("class", " ".join(names.get(one, one) for one in classes))
        copy.text = child.text
        if (words := _label(child)) is not None:
            ET.SubElement(copy, "title").text = words
        copy.extend(_copies(child, names))
        yield copy


def _is_nothing(element: Any, tag: str) -> bool:
    """Whether this is a bar without a length."""
    return tag == "rect" and any(float(element.get(name) or 0) == 0 for name in ("width", "height"))


def _short(number: str) -> str:
    """Two digits after the point are more than a screen shows."""
    try:
        return f"{float(number):.2f}".rstrip("0").rstrip(".")
    except ValueError:
        return number


def _label(element: Any) -> str | None:
    found: Iterable[Any] = (one for one in element if str(one.tag).endswith("desc") and one.get("class") == "label")
    return next((one.text for one in found), None)
