"""What was measured, part by part: ``results.json`` keeps it, so that a part can be measured again alone."""

from __future__ import annotations

import os
import platform
import tomllib
from importlib.metadata import version
from pathlib import Path

import msgspec

from benchmarks.lines import Line  # noqa: TC001 - msgspec reads the annotations

_HERE = Path(__file__).parent
_LIBRARIES = ("google-genai", "duckdb", "pyarrow", "msgspec")


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """Where a part was measured, in general words. ``memory``: gigabytes."""

    system: str
    cores: int
    memory: int
    python: str
    versions: dict[str, str]


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """The lines of one part. ``changed``: the sizes that are not those of the table."""

    date: str
    machine: Machine
    lines: list[Line]
    changed: dict[str, int] = {}


def this_machine() -> Machine:
    """The machine that this process runs on."""
    return Machine(
        system=platform.system(),
        cores=os.cpu_count() or 1,
        memory=round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9),
        python=platform.python_version(),
        versions={name: version(name) for name in ("gemini-batch", *_LIBRARIES)},
    )


def read(folder: Path) -> dict[str, Part]:
    """What was measured before, by the name of the part."""
    path = folder / "results.json"
    return msgspec.json.decode(path.read_bytes(), type=dict[str, Part]) if path.exists() else {}


def write(folder: Path, parts: dict[str, Part], page: str) -> None:
    """Write ``results.json`` and ``results.md``."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "results.json").write_bytes(msgspec.json.format(msgspec.json.encode(parts), indent=1) + b"\n")
    (folder / "results.md").write_text(page, "utf-8")


def reasons() -> dict[str, str]:
    """Why a goal is not reached, by the name of the line."""
    found: dict[str, str] = tomllib.loads((_HERE / "reasons.toml").read_text("utf-8"))
    return found
