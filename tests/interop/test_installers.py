"""Other people's installers on a clone and on the wheel: each finds the skill, and its scripts say what they need.

Nothing here asks a model, and no agent is started: only the parts of these programs that check and install.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import skill_copy
from conformance import environments
from interop.homes import interpreter

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT = Path(__file__).parents[2]
PYTHON_TOOLS = {"library-skills": "0.0.19", "skillsaw": "0.22.0"}
NODE_TOOLS = {
    "skills": "1.7.4", "@anthropic-ai/claude-code": "2.1.197", "@openai/codex": "0.169.0",
    "@google/gemini-cli": "0.61.0",
}  # fmt: skip
#: Where a package has its program; Claude Code is a binary of its platform, which the package only starts.
_PROGRAMS = {
    "skills": "skills/bin/cli.mjs",
    "@openai/codex": "@openai/codex/bin/codex.js",
    "@google/gemini-cli": "@google/gemini-cli/bundle/gemini.js",
}
pytestmark = [pytest.mark.interop, pytest.mark.timeout(600)]


class Person:
    """Someone with a home and a project, who types commands there."""

    def __init__(self, folder: Path) -> None:
        self.home, self.project = folder / "home", folder / "project"
        for one in (self.home, self.project):
            one.mkdir()

    def types(self, *words: str | Path) -> str:
        """Run a command that has to succeed; returns all that it says."""
        kept = {name: os.environ[name] for name in ("PATH", "LANG", "TMPDIR") if name in os.environ}
        done = subprocess.run(
            words,
            cwd=self.project,
            env={**kept, "HOME": str(self.home), "CI": "1", "NO_COLOR": "1", "GEMINI_CLI_TRUST_WORKSPACE": "true"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        assert done.returncode == 0, f"{words}\n{done.stdout}\n{done.stderr}"
        return done.stdout + done.stderr


@pytest.fixture
def person(tmp_path: Path) -> Person:
    return Person(tmp_path)


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What git has of this repository, and nothing else."""
    folder = tmp_path_factory.mktemp("clone") / "gemini-batch"
    listed = subprocess.run(
        ["git", "-C", ROOT, "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        capture_output=True,
        check=False,
    )
    if listed.returncode:
        pytest.skip("not a clone")
    for name in filter(None, os.fsdecode(listed.stdout).split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    return folder


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "wheel", "--no-deps", "--wheel-dir", folder, ROOT], check=True, capture_output=True)
    (found,) = folder.glob("*.whl")
    return found


def node(package: str) -> Sequence[str | Path]:
    """The command of a program from npm."""
    name = package.rsplit("/", 1)[-1]
    folder = environments.node(f"installer-{name}", f"{package}@{NODE_TOOLS[package]}") / "node_modules"
    if package != "@anthropic-ai/claude-code":
        return [*environments.node_program(), folder / _PROGRAMS[package]]
    binaries = list((folder / "@anthropic-ai").glob("claude-code-*/claude"))
    if not binaries:
        pytest.skip("Claude Code has no program for this platform")
    return [binaries[0]]


def assert_skill(folder: Path) -> None:
    """The whole skill is in the folder, and a script there starts as far as a bare Python lets it."""
    assert skill_copy.files(folder) == skill_copy.files(ROOT)
    script = folder / "scripts" / "run_batch.py"
    done = subprocess.run(
        [sys.executable, "-S", "-E", script, "x"], env={"PATH": ""}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 3, done
    assert done.stderr.startswith("run: the gemini-batch library is not installed. Type: ")


def test_library_skills_from_the_wheel(person: Person, wheel: Path) -> None:
    """It links into the package; a Python that has nothing then starts the one that has the package."""
    python = interpreter("library-skills", f"library-skills=={PYTHON_TOOLS['library-skills']}")
    environment = person.project / ".venv"
    subprocess.run([sys.executable, "-m", "venv", environment], check=True)
    pip: list[str | Path] = [
        environment / "bin" / "python",
        "-m",
        "pip",
        "--quiet",
        "--disable-pip-version-check",
        "install",
    ]
    subprocess.run([*pip, wheel], check=True, env={**os.environ, "PIP_CONSTRAINT": str(ROOT / "constraints.txt")})
    (person.project / "pyproject.toml").touch()

    said = person.types(python.with_name("library-skills"), "--all", "--yes")

    assert "gemini-batch" in said
    folder = person.project / ".agents" / "skills" / "gemini-batch"
    assert folder.is_symlink()
    assert skill_copy.files(folder) == skill_copy.files(ROOT)
    usage = person.types(sys.executable, "-S", "-E", folder / "scripts" / "run_batch.py", "--help")
    assert usage.startswith("Usage: run_batch.py")
    copied = person.types(environment / "bin" / "gemini-batch", "skill", "install", "--claude")
    assert copied.startswith(".claude/skills/gemini-batch\n")
    assert skill_copy.files(person.project / ".claude" / "skills" / "gemini-batch") == skill_copy.files(ROOT)


def test_skillsaw_finds_no_error(person: Person, clone: Path) -> None:
    """It knows the rules of Agent Plugins, Claude Code, Codex and Cursor."""
    python = interpreter("skillsaw", f"skillsaw=={PYTHON_TOOLS['skillsaw']}")
    report = json.loads(person.types(python.with_name("skillsaw"), "lint", "--format", "json", clone))
    assert report["summary"]["errors"] == 0, report


def test_skills(person: Person, clone: Path) -> None:
    skills = node("skills")
    person.types(*skills, "add", clone, "--yes", "--agent", "claude-code", "codex", "--skill", "gemini-batch")
    for place in (".agents", ".claude"):
        assert_skill(person.project / place / "skills" / "gemini-batch")


def test_claude_code(person: Person, clone: Path) -> None:
    claude = node("@anthropic-ai/claude-code")
    for manifest in ("", ".claude-plugin/plugin.json"):
        assert "Validation passed" in person.types(*claude, "plugin", "validate", "--strict", clone / manifest)
    person.types(*claude, "plugin", "marketplace", "add", clone)
    person.types(*claude, "plugin", "install", "gemini-batch@gemini-batch")
    (folder,) = person.home.glob(".claude/plugins/cache/**/skills/gemini-batch")
    assert_skill(folder)


def test_codex(person: Person, clone: Path) -> None:
    codex = node("@openai/codex")
    person.types(*codex, "plugin", "marketplace", "add", clone)
    person.types(*codex, "plugin", "add", "gemini-batch@gemini-batch")
    (folder,) = person.home.glob(".codex/plugins/cache/**/skills/gemini-batch")
    assert_skill(folder)


def test_gemini_cli(person: Person, clone: Path) -> None:
    gemini = node("@google/gemini-cli")
    (person.home / ".gemini").mkdir()
    assert "successfully validated" in person.types(*gemini, "extensions", "validate", clone)
    person.types(*gemini, "extensions", "install", clone, "--consent")
    assert_skill(person.home / ".gemini" / "extensions" / "gemini-batch" / "skills" / "gemini-batch")
    person.types(
        *gemini, "skills", "install", clone, "--path", "skills/gemini-batch", "--scope", "workspace", "--consent"
    )
    assert_skill(person.project / ".gemini" / "skills" / "gemini-batch")
