"""A person at a shell in the skill's folder."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from docs.pages import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from docs.pages import Block


@dataclass
class Shell:
    """``folder`` is the skill's; ``bin`` stands first on the PATH; ``env`` is what the person has exported."""

    folder: Path
    bin: Path
    home: Path
    env: dict[str, str]

    def command(self, name: str, text: str) -> None:
        """Put a command on the PATH."""
        path = self.bin / name
        path.write_text(text, encoding="utf-8")
        path.chmod(0o755)

    def run(self, text: str, *, code: int = 0) -> subprocess.CompletedProcess[str]:
        """Type it into bash; every command has to succeed, unless another exit code is expected of the last."""
        return self._run(["bash", "-e", "-u", "-o", "pipefail", "-c", text], code)

    def python(self, text: str) -> subprocess.CompletedProcess[str]:
        """Run it as a Python script."""
        return self._run([sys.executable, "-W", "error", "-c", text], 0)

    def block(self, block: Block) -> subprocess.CompletedProcess[str]:
        """Do what a block of a page says."""
        return self.run(block.text) if block.language == "bash" else self.python(block.text)

    def rows(self, name: str) -> list[dict[str, Any]]:
        """The lines of a JSONL file."""
        lines = (self.folder / name).read_bytes().split(b"\n")
        assert lines.pop() == b""
        return [json.loads(line) for line in lines]

    def _run(self, words: list[str], code: int) -> subprocess.CompletedProcess[str]:
        process = subprocess.Popen(
            words,
            cwd=self.folder,
            env=self.env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        try:
            out, err = process.communicate(timeout=90)
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)  # the shell and what it started: all of them ours
            raise
        assert "Traceback" not in err, err
        assert process.returncode == code, f"exit code {process.returncode}\n{words[-1]}\n{out}\n{err}"
        return subprocess.CompletedProcess(words, process.returncode, out, err)


@pytest.fixture
def make_shell(tmp_path: Path) -> Callable[..., Shell]:
    """A shell in a fresh copy of the skill's folder, with the given variables exported."""

    def make(**exported: str) -> Shell:
        folder, bin_ = tmp_path / "gemini-batch", tmp_path / "bin"
        folder.mkdir()
        bin_.mkdir()
        shutil.copy(ROOT / "SKILL.md", folder)
        for name in ("scripts", "references", "examples"):
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        kept = {name: os.environ[name] for name in ("LANG", "LC_ALL", "TMPDIR", "SYSTEMROOT") if name in os.environ}
        shell = Shell(
            folder=folder,
            bin=bin_,
            home=tmp_path / "home",
            env={
                **kept,
                "PATH": f"{bin_}:{os.environ['PATH']}",
                "HOME": str(tmp_path / "user"),
                "PYTHONPATH": str(ROOT / "src"),
                "GEMINI_BATCH_HOME": str(tmp_path / "home"),
                "GEMINI_BATCH_POLL": "0.05",
                **exported,
            },
        )
        for name in ("python", "python3"):
            shell.command(name, f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
        shell.command("gemini-batch", f'#!/bin/sh\nexec "{sys.executable}" -m gemini_batch "$@"\n')
        shell.command("sleep", f'#!/bin/sh\necho "$1" >> "{tmp_path}/slept"\n')
        return shell

    return make


@pytest.fixture
def offline_shell(make_shell: Callable[..., Shell]) -> Shell:
    """Everything offline."""
    return make_shell(GEMINI_BATCH_OFFLINE="1")


@pytest.fixture(scope="package")
def emulator_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A standing ``gemini-batch emulator`` in a process of its own."""
    folder = tmp_path_factory.mktemp("standing")
    process = subprocess.Popen(
        [sys.executable, "-m", "gemini_batch", "emulator", "--data", str(folder / "data")],
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    with process:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
        process.terminate()
        process.stdout.read()
    assert process.returncode == 143
