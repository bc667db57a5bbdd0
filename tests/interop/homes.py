"""Throw-away environments under ``.venv/interop``, one a program: made once, and anew when what is in them changes.

Each holds one program at one version and what that asks for, and nothing of this package's constraints; the package
itself only where the program is a scheduler that calls it.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

from filelock import FileLock

_FOLDER = Path(__file__).parents[2] / ".venv" / "interop"
_SECONDS = 600.0


def interpreter(name: str, *requirements: str) -> Path:
    """The Python of the environment ``name``; an environment of which a part is missing is never taken for a whole."""
    _FOLDER.mkdir(parents=True, exist_ok=True)
    folder, stamp = _FOLDER / name, _FOLDER / f"{name}.recipe"
    recipe = hashlib.sha256("\n".join([sys.version, *requirements]).encode()).hexdigest()
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    with FileLock(_FOLDER / f"{name}.lock", timeout=_SECONDS):
        if not (python.exists() and stamp.is_file() and stamp.read_text() == recipe):
            stamp.unlink(missing_ok=True)
            shutil.rmtree(folder, ignore_errors=True)
            _run(sys.executable, "-m", "venv", str(folder))
            _run(str(python), "-m", "pip", "--quiet", "--disable-pip-version-check", "install", *requirements)
            stamp.write_text(recipe)
    return python


def _run(*command: str) -> None:
    environment = {name: value for name, value in os.environ.items() if name not in ("PIP_CONSTRAINT", "PYTHONPATH")}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=_SECONDS)
    assert done.returncode == 0, f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}"
