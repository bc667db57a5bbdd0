"""``python -m mutation [WORD…]``, in the folder ``tests``: take out one guard after the other, and show who misses it.

The guards are taken out of a copy of the source. With words only those whose description holds one of them.
Ends with 0 if every named test failed without its guard, with 1 if one did not, or if a breakage is stale.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from mutation.breakage import ROOT, SOURCE
from mutation.table import BREAKAGES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mutation.breakage import Breakage

_FAILED = re.compile(r"^(?:FAILED|ERROR) (.+?)(?: - .*)?$", re.MULTILINE)
#: A test that never ends without its guard misses it, too; but it has to be ended.
_TEST_SECONDS, _ALL_SECONDS = 30, 600


class Copy:
    """A copy of the source in ``folder``, which the tests import in the place of the original."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.source = folder / "src"
        shutil.copytree(SOURCE, self.source, ignore=shutil.ignore_patterns("__pycache__"))
        (folder / "skills").symlink_to(ROOT / "skills")  # what is installed from a clone finds the skill there
        self._environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")},
            "PYTHONPATH": str(self.source),
            "HYPOTHESIS_STORAGE_DIRECTORY": str(folder / "hypothesis"),
        }
        found = self._python("-c", "import gemini_batch; print(gemini_batch.__file__)").stdout.strip()
        if not Path(found).is_relative_to(self.source):
            raise RuntimeError(f"the tests would import {found}")

    def failing(self, tests: Sequence[str]) -> tuple[int, list[str], str]:
        """Run ``tests``; pytest's exit code, the tests that failed, and all that pytest said."""
        options = ("-q", "-rfE", "-p", "no:randomly", "-p", "no:cacheprovider", "-o", f"timeout={_TEST_SECONDS}")
        done = self._python("-m", "pytest", *options, *tests)
        return done.returncode, _FAILED.findall(done.stdout), done.stdout + done.stderr

    def _python(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, *words],
            cwd=ROOT,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_ALL_SECONDS,
            check=False,
        )


def taken_out(copy: Copy, breakage: Breakage) -> dict[str, list[str]]:
    """Without the guard: for each named test the cases of it that fail; none where nobody misses it.

    Raises LookupError for a stale breakage, and where the tests did not run.
    """
    path = copy.source / breakage.path
    whole = path.read_text(encoding="utf-8")
    try:
        path.write_text(breakage.broken(whole), encoding="utf-8")
        code, failed, said = copy.failing(breakage.tests)
    finally:
        path.write_text(whole, encoding="utf-8")
    if code not in {0, 1}:  # nothing collected, a mistake in the call, or a source that cannot be imported
        raise LookupError(f"the tests did not run (pytest ended with {code}):\n{said[-2000:]}")
    return {test: [each for each in failed if each == test or each.startswith(f"{test}[")] for test in breakage.tests}


def _told(test: str, failed: Sequence[str]) -> str:
    """One named test, and what it says: its first case that fails, and how many more."""
    if not failed:
        return f"{test} does not miss it"
    return f"{failed[0]}{f' and {len(failed) - 1} more' if len(failed) > 1 else ''}"


def main(words: Sequence[str]) -> int:
    """Check that the tests pass as it is, then take out one guard after the other."""
    chosen = [b for b in BREAKAGES if not words or any(word in b.guard for word in words)]
    if not chosen:
        sys.stdout.write("No guard is described so.\n")
        return 1
    with tempfile.TemporaryDirectory(prefix="gemini-batch-mutation-") as folder:
        copy = Copy(Path(folder))
        code, _, said = copy.failing(sorted({test for breakage in chosen for test in breakage.tests}))
        if code != 0:
            sys.stdout.write(f"The tests must pass before anything is broken:\n{said[-4000:]}\n")
            return 1
        wrong = 0
        for breakage in chosen:
            began = time.monotonic()
            try:
                found = taken_out(copy, breakage)
                lines = [f"    {_told(test, failed)}\n" for test, failed in found.items()]
                missed = all(found.values())
            except (LookupError, subprocess.TimeoutExpired) as error:
                lines, missed = [f"    {error}\n"], False
            wrong += not missed
            sys.stdout.write(f"{'missed' if missed else 'NOT MISSED'}: {breakage.guard} ")
            sys.stdout.write(f"({time.monotonic() - began:.0f} s)\n{''.join(lines)}")
            sys.stdout.flush()
    sys.stdout.write(f"{len(chosen) - wrong} of {len(chosen)} guards are missed when they are gone.\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
