"""``skills/gemini-batch``: a copy of the skill for the installers that look there. The root holds the original."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
COPY = ROOT / "skills" / "gemini-batch"
#: What the skill consists of.
PARTS = ("SKILL.md", "LICENSE", "scripts", "references")


def files(folder: Path) -> dict[str, tuple[bytes, bool]]:
    """The files of the skill in ``folder``: content, and whether it may be executed, by relative path with slashes."""
    found = {}
    for part in PARTS:
        for path in [folder / part] if (folder / part).is_file() else sorted((folder / part).rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                found[path.relative_to(folder).as_posix()] = path.read_bytes(), os.access(path, os.X_OK)
    return found


def write() -> None:
    """Make the copy anew."""
    shutil.rmtree(COPY, ignore_errors=True)
    for name, (content, executable) in files(ROOT).items():
        path = COPY / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        if executable:
            path.chmod(0o755)


if __name__ == "__main__":
    write()
    sys.stdout.write(f"Written: {COPY.relative_to(ROOT)}\n")
