"""``python -m benchmarks``: measure, and write the table; ends with 1 if a goal is missed and nothing says why."""

from __future__ import annotations

import argparse
import datetime as dt
import importlib
import os
import sys
import tempfile
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks import picture, reach, results
from benchmarks.measure import Place
from benchmarks.page import amount, ours, page, quoted, significant, unexplained
from benchmarks.sizes import FULL, SMALL, Sizes
from gemini_batch import catalog

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from benchmarks.lines import Line

#: The parts in the order of the table: what ``make bench`` measures, and those that are measured by name only.
TITLES = {
    "startup": "1. Start-up",
    "checking": "2. Check and enter a request file",
    "tables": "3. Tables in and out",
    "uploading": "4. Upload over round trips of 50 ms, with 100 Mbit/s a connection",
    "collecting": "5. Download, judge and write results",
    "whole": "6. A whole run",
    "watching": "7. Watching",
    "killed": "8. A run that is killed",
    "growth": "9. More and more rows",
    "emulating": "10. The emulator",
    "pile": "11. Memory of each command",
    "memory": "12. Entering next to answered rows",
    "estimates": "13. Estimating tokens",
    "flex": "14. Requests as calls",
    "sharding": "15. Work in shards",
    "engines": "16. Rows that another engine shapes",
}
BY_NAME = ("pile", "memory", "estimates", "flex", "sharding", "engines")
_HERE = Path(__file__).resolve().parent
#: The pages that quote figures, all of them or some, and a picture; written only with the table itself.
QUOTED: dict[Path, list[tuple[str, str]] | None] = {
    _HERE.parent / "docs" / "performance.md": None,
    _HERE.parent / "README.md": [
        ("whole run", "litellm"),
        ("upload", "SDK files.upload, one after"),
        ("watch", "a get"),
    ],
}
_PICTURE = _HERE.parent / "docs" / "assets" / "growth.svg"
#: The page that says how far one machine goes.
REACH = _HERE.parent / "docs" / "scale.md"


def main() -> int:
    """Parse, measure, show, write."""
    options = _parsed()
    if options.pages:
        parts = results.read(_HERE)
        results.write(_HERE, parts, page(parts, TITLES, results.reasons()))
        _write_pages(parts)
        return 0
    sizes = _sizes(options.scale, options.size)
    changed = {name: value for name, value in asdict(sizes).items() if value != getattr(FULL, name)}
    folder = (options.into or (_HERE.parent / "build" / "benchmarks" if changed else _HERE)).resolve()
    reasons = results.reasons()
    good = True
    for name in options.parts or [name for name in TITLES if name not in BY_NAME]:
        print(TITLES[name], flush=True)
        try:
            lines = list(_measured(name, sizes))
        except (RuntimeError, OSError) as error:  # the other parts take most of an hour
            print(f"  This part failed, and its lines stay as they were: {error}", file=sys.stderr, flush=True)
            good = False
            continue
        good = good and not any(unexplained(line, reasons) for line in lines)
        today = dt.datetime.now(tz=dt.UTC).date().isoformat()
        part = results.Part(date=today, machine=results.this_machine(), lines=lines, changed=changed)
        parts = {**results.read(folder), name: part}  # read again: another process may have measured another part
        results.write(folder, parts, page(parts, TITLES, reasons))
        if folder == _HERE:
            _write_pages(parts)
        elif name == "growth":
            (folder / "growth.svg").write_text(picture.picture(lines), "utf-8")
    print(f"Written to {os.path.relpath(folder)}/results.md.")
    if not good:
        print("A part failed, or a goal was missed and reasons.toml does not say why.", file=sys.stderr)
    return 0 if good else 1


def _write_pages(parts: Mapping[str, results.Part]) -> None:
    """Renew what the docs show of the table."""
    for path, only in QUOTED.items():
        path.write_text(quoted(path.read_text("utf-8"), parts, TITLES, only), "utf-8")
    if (growth := parts.get("growth")) is not None:
        _PICTURE.write_text(picture.picture(growth.lines), "utf-8")
        model = catalog.load().find(catalog.DEFAULT_MODEL)
        assert model is not None
        REACH.write_text(reach.written(REACH.read_text("utf-8"), growth.lines, model), "utf-8")


def _measured(name: str, sizes: Sizes) -> Iterator[Line]:
    """The lines of a part, shown as soon as they are there."""
    with tempfile.TemporaryDirectory(prefix="gemini-batch-benchmarks-") as where:
        for line in importlib.import_module(f"benchmarks.parts.{name}").measured(Place(Path(where)), sizes):
            print(f"  {_shown(line)}", flush=True)
            yield line


def _parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"{', '.join(TITLES)}; default: all but the last six")
    parser.add_argument("--scale", choices=("full", "small"), default="full", help="small: tries all in a few minutes")
    parser.add_argument(
        "--size", action="append", default=[], metavar="NAME=N", help=f"another size: {', '.join(asdict(FULL))}"
    )
    parser.add_argument("--pages", action="store_true", help="measure nothing; write all pages anew from results.json")
    parser.add_argument(
        "--into", type=Path, help="folder of the table; default: benchmarks, or for other sizes build/benchmarks"
    )
    options = parser.parse_args()
    if unknown := set(options.parts) - set(TITLES):
        parser.error(f"there is no part {', '.join(sorted(unknown))}; choose from {', '.join(TITLES)}")
    for size in options.size:
        name, _, number = size.partition("=")
        if name not in asdict(FULL) or not number.isdecimal():
            parser.error(f"{size!r} is not NAME=N with one of {', '.join(asdict(FULL))}")
    return options


def _sizes(scale: str, changes: list[str]) -> Sizes:
    named = (change.split("=") for change in changes)
    return replace(SMALL if scale == "small" else FULL, **{name: int(number) for name, number in named})


def _shown(line: Line) -> str:
    compared = ""
    if line.theirs is not None and line.ratio is not None:
        compared = f"; {line.baseline} {amount(line.theirs, line.unit)}: ratio {significant(line.ratio)}"
    elif line.baseline:
        compared = f"; {line.baseline}: {line.note}"
    peaks = f"; {line.peak / 1e6:,.0f} MB" + (f", {line.their_peak / 1e6:,.0f} MB" if line.their_peak else "")
    missed = f"; MISSED: {', '.join(line.missed())}" if line.missed() else ""
    return f"{line.name}: {ours(line)}{compared}{peaks if line.peak else ''}{missed}"


if __name__ == "__main__":
    sys.exit(main())
