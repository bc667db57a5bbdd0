"""The types of the public face, as the two type checkers that people use see them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import gemini_batch
from docs.pages import ROOT

PROGRAM = Path(__file__).with_name("program.py")


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """The program in a folder of its own: the checkers see the package as a user's checker would, by ``py.typed``."""
    shutil.copy(PROGRAM, tmp_path / "program.py")
    return tmp_path


def check(words: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "HOME": str(folder), "MYPYPATH": str(ROOT / "src")}
    return subprocess.run(
        [sys.executable, "-m", *words], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


@pytest.mark.timeout(300)
def test_mypy_accepts_the_program(outside: Path) -> None:
    done = check(["mypy", "--strict", "program.py"], outside)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.timeout(300)
def test_pyright_accepts_the_program(outside: Path) -> None:
    pytest.importorskip("pyright", reason="pyright[nodejs] is one of the developers' tools")
    (outside / "pyrightconfig.json").write_text(
        f'{{"typeCheckingMode": "strict", "extraPaths": ["{ROOT / "src"}"]}}', encoding="utf-8"
    )
    done = check(["pyright", "--pythonpath", sys.executable, "program.py"], outside)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.timeout(300)
@pytest.mark.parametrize("line", ["batch.status(1)", "batch.create('f', modle='m')", "gemini_batch.nonsense"])
def test_a_mistake_is_seen(outside: Path, line: str) -> None:
    """No check that cannot fail."""
    pytest.importorskip("pyright")
    program = f"import gemini_batch\nbatch = gemini_batch.GeminiBatch()\n{line}\n"
    (outside / "program.py").write_text(program, encoding="utf-8")
    (outside / "pyrightconfig.json").write_text(f'{{"extraPaths": ["{ROOT / "src"}"]}}', encoding="utf-8")
    done = check(["pyright", "--pythonpath", sys.executable, "program.py"], outside)
    assert done.returncode == 1
    assert "program.py:3:" in done.stdout


def test_the_program_uses_nothing_but_the_public_face_and_all_verbs() -> None:
    text = PROGRAM.read_text(encoding="utf-8")
    assert set(re.findall(r"gemini_batch\.(\w+)(?= import|\.)|^from gemini_batch\.(\w+)", text)) <= {("aio", "")}
    verbs = [name for name in gemini_batch.aio.__all__ if name != "AsyncGeminiBatch"]
    for verb in verbs:
        assert f"(batch.{verb}(" in text or f" batch.{verb}(" in text, verb
        assert f"await batch.{verb}(" in text, verb
        assert f"gemini_batch.{verb}(" in text, verb
