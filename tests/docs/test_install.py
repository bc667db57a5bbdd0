"""How the skill gets into a coding agent: its copy, the manifests, and the scripts from wherever they are."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx2
import pytest

import skill_copy
from docs.pages import ROOT, blocks, frontmatter, read
from gemini_batch import __version__
from gemini_batch.emulator.http.server import serve

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from docs.conftest import Shell

SCRIPTS = {
    "create_batch.py": "create", "check_status.py": "status", "get_results.py": "results", "run_batch.py": "run",
}  # fmt: skip
MANIFESTS = (
    ".claude-plugin/plugin.json", ".claude-plugin/marketplace.json", ".codex-plugin/plugin.json",
    ".cursor-plugin/plugin.json", "plugin.json", ".agents/plugins/marketplace.json", "gemini-extension.json",
)  # fmt: skip
each_script = pytest.mark.parametrize("script", SCRIPTS)
each_manifest = pytest.mark.parametrize("name", MANIFESTS)


def manifest(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((ROOT / name).read_text(encoding="utf-8"))
    return found


def values(document: object, field: str) -> Iterator[Any]:
    """Every value that a field of that name has, at any depth."""
    if isinstance(document, dict):
        for name, value in document.items():
            if name == field:
                yield value
            yield from values(value, field)
    if isinstance(document, list):
        for one in document:
            yield from values(one, field)


# The copy and the manifests -------------------------------------------------------------------------------------------


def test_the_copy_of_the_skill_is_the_skill() -> None:
    """If this fails: make skill."""
    assert skill_copy.files(skill_copy.COPY) == skill_copy.files(ROOT)
    there = {path.relative_to(skill_copy.COPY).as_posix() for path in skill_copy.COPY.rglob("*") if path.is_file()}
    there = {name for name in there if "__pycache__" not in name}
    assert there == skill_copy.files(ROOT).keys()


@each_manifest
def test_a_manifest_has_the_version_of_the_package(name: str) -> None:
    versions = list(values(manifest(name), "version"))
    assert versions
    assert set(versions) == {__version__}


def test_all_versions_are_the_same() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["version"] == __version__
    assert f'version: "{__version__}"\n' in frontmatter(ROOT / "SKILL.md")[0]


@each_manifest
def test_a_manifest_names_the_skill_and_no_address(name: str) -> None:
    """No repository and no home page: the project does not know where it is published."""
    document = manifest(name)
    assert document["name"] == "gemini-batch"
    if "description" in document:
        (said,) = {*values(document, "description")}
        assert said.split(" and returns")[0].rstrip(",") in " ".join(frontmatter(ROOT / "SKILL.md")[0].split())
    document.pop("$schema", None)  # a format's name for itself
    assert "http" not in json.dumps(document)


@each_manifest
def test_the_folders_that_a_manifest_names_are_there(name: str) -> None:
    """Relative to the root, as every one of these formats reads them, and inside it."""
    paths = [*values(manifest(name), "skills"), *values(manifest(name), "path")]
    paths += [one for one in values(manifest(name), "source") if isinstance(one, str) and one != "local"]
    for path in paths:
        assert path.startswith("./")
        assert (ROOT / path / "SKILL.md").is_file() or (ROOT / path / "gemini-batch" / "SKILL.md").is_file(), path


def test_the_wheel_and_the_sdist_carry_the_skill() -> None:
    targets = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["hatch"]["build"]["targets"]
    assert targets["wheel"]["force-include"] == {"skills": "gemini_batch/.agents/skills"}
    carried = targets["sdist"]["include"]
    for name in (*MANIFESTS, *skill_copy.PARTS, "skills"):
        assert any(f"/{name}".startswith(one) for one in carried), name


# The scripts ----------------------------------------------------------------------------------------------------------


@each_script
def test_a_script_has_the_dependencies_of_the_package(script: str) -> None:
    """For `uv run`, in its header. If this fails, write what pyproject.toml has, then `make skill`."""
    text = (ROOT / "scripts" / script).read_text(encoding="utf-8")
    (block,) = re.findall(r"^# /// script\n((?:#.*\n)+?)# ///$", text, re.MULTILINE)
    header = tomllib.loads("".join(line.removeprefix("#").removeprefix(" ") + "\n" for line in block.splitlines()))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert header["dependencies"] == sorted([*project["dependencies"], *project["optional-dependencies"]["tables"]])
    assert header["requires-python"] == project["requires-python"]
    assert os.access(ROOT / "scripts" / script, os.X_OK)


@each_script
@pytest.mark.parametrize("folder", ["scripts", "skills/gemini-batch/scripts"])
def test_a_script_is_its_command_from_any_folder(script: str, folder: str, tmp_path: Path) -> None:
    done = call(ROOT / folder / script, "--help", python=Path(sys.executable), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"Usage: {script} [OPTIONS]")
    (usage, _, _) = done.stdout.partition("\n\n")
    ours = call("-m", "gemini_batch", SCRIPTS[script], "--help", python=Path(sys.executable), cwd=tmp_path).stdout
    assert ours.replace(f"gemini-batch {SCRIPTS[script]}", script, 1).split() == done.stdout.split(), usage


#: A Python that has nothing installed; the interpreter itself stays the same.
BARE = ("-S", "-E")


def call(
    *words: str | Path, python: Path | None = None, cwd: Path, path: Path | str = ""
) -> subprocess.CompletedProcess[str]:
    """Start Python with these words; without ``python``, one that has no packages."""
    start: list[str | Path] = [sys.executable, *BARE] if python is None else [python]
    env = {name: value for name, value in os.environ.items() if name not in {"PYTHONPATH", "VIRTUAL_ENV"}}
    env |= {"PATH": str(path), "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run([*start, *words], cwd=cwd, env=env, capture_output=True, text=True, check=False, timeout=60)


def copied_skill(folder: Path) -> Path:
    """The skill alone, as an installer copies it; returns the folder of its scripts."""
    shutil.copytree(ROOT / "skills" / "gemini-batch", folder, ignore=shutil.ignore_patterns("__pycache__"))
    return folder / "scripts"


def clone(folder: Path) -> Path:
    """What a script recognises a clone by, and the scripts in both places; nothing in it works."""
    (folder / "src" / "gemini_batch").mkdir(parents=True)
    (folder / "src" / "gemini_batch" / "__init__.py").touch()
    shutil.copytree(ROOT / "scripts", folder / "scripts", ignore=shutil.ignore_patterns("__pycache__"))
    copied_skill(folder / "skills" / "gemini-batch")
    return folder


def environment(folder: Path) -> Path:
    """An environment whose Python says how it was started."""
    (folder / "bin").mkdir(parents=True)
    (folder / "pyvenv.cfg").touch()
    return stand_in(folder / "bin" / "python", f"python of {folder.name}")


def stand_in(program: Path, name: str) -> Path:
    program.write_text(f'#!/bin/sh\necho "{name}:" "$@"\n')
    program.chmod(0o755)
    return program


@each_script
@pytest.mark.parametrize("place", [".agents/skills/gemini-batch", ".claude/skills/gemini-batch"])
def test_a_skill_alone_says_how_to_install_its_library(script: str, place: str, tmp_path: Path) -> None:
    scripts = copied_skill(tmp_path / place)
    done = call(scripts / script, "x", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (3, "")
    said = r"\w+: the gemini-batch library is not installed\. Type: \S+ -m pip install PATH-OF-THE-GEMINI-BATCH-CLONE\n"
    assert re.fullmatch(said, done.stderr)


@pytest.mark.parametrize("place", ["scripts", "skills/gemini-batch/scripts"])
def test_in_a_clone_a_script_says_what_to_type_there(place: str, tmp_path: Path) -> None:
    there = clone(tmp_path / "a clone")
    done = call(there / place / "run_batch.py", "x", cwd=tmp_path)
    assert done.returncode == 3
    assert f"Type: make -C '{there}' setup " in done.stderr
    assert f"uv run '{there / place / 'run_batch.py'}'" in done.stderr


@pytest.mark.parametrize("place", ["scripts", "skills/gemini-batch/scripts"])
def test_a_script_starts_again_with_the_python_of_its_clone(place: str, tmp_path: Path) -> None:
    there = clone(tmp_path / "clone")
    environment(there / ".venv")
    script = there / place / "run_batch.py"
    done = call(script, "in put.jsonl", cwd=tmp_path)
    assert done.stdout == f"python of .venv: {script} in put.jsonl\n"


def test_a_linked_skill_starts_with_the_python_of_its_package(tmp_path: Path) -> None:
    """As installers link it: the project's folder, and behind it a package in some environment."""
    environment(tmp_path / "env")
    copied_skill(tmp_path / "env" / "lib" / "gemini_batch" / ".agents" / "skills" / "gemini-batch")
    link = tmp_path / "project" / ".agents" / "skills" / "gemini-batch"
    link.parent.mkdir(parents=True)
    link.symlink_to(tmp_path / "env" / "lib" / "gemini_batch" / ".agents" / "skills" / "gemini-batch")
    done = call(link / "scripts" / "run_batch.py", "x", cwd=tmp_path)
    assert done.stdout == f"python of env: {link / 'scripts' / 'run_batch.py'} x\n"


@each_script
def test_a_skill_alone_uses_the_command_on_the_path(script: str, tmp_path: Path) -> None:
    scripts = copied_skill(tmp_path / "skill")
    (tmp_path / "bin").mkdir()
    stand_in(tmp_path / "bin" / "gemini-batch", "the command")
    done = call(scripts / script, "x", "--json", cwd=tmp_path, path=tmp_path / "bin")
    assert done.stdout == f"the command: {SCRIPTS[script]} x --json\n"


def test_a_script_uses_the_source_of_its_clone_where_the_dependencies_are(tmp_path: Path) -> None:
    """As under `uv run`: this Python has all that the package needs, and not the package."""
    there = clone(tmp_path / "clone")
    shutil.rmtree(there / "src")
    (there / "src").symlink_to(ROOT / "src")
    without = (
        "import sys, runpy\n"
        "sys.meta_path = [one for one in sys.meta_path if 'editable' not in repr(one)]\n"
        f"sys.path = [one for one in sys.path if one != {str(ROOT / 'src')!r}]\n"
        "sys.argv = sys.argv[1:]\n"
        f"sys.path.insert(0, {str(there / 'scripts')!r})\n"
        "runpy.run_path(sys.argv[0], run_name='__main__')\n"
    )
    script = there / "scripts" / "run_batch.py"
    done = call("-c", without, script, "--help", python=Path(sys.executable), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("Usage: run_batch.py")


def test_the_page_as_written(offline_shell: Shell) -> None:
    """Both folders hold the skill, and its scripts start from there."""
    (block,) = (block for block in blocks(ROOT / "docs" / "install-skill.md") if block.language == "bash")
    done = offline_shell.run(block.text)
    folders = done.stdout.split()
    assert folders == [".agents/skills/gemini-batch", ".claude/skills/gemini-batch"]
    for folder in folders:
        assert skill_copy.files(offline_shell.folder / folder) == skill_copy.files(ROOT)
        usage = offline_shell.run(f"python {folder}/scripts/run_batch.py --help").stdout
        assert usage.startswith("Usage: run_batch.py")


def test_waiting_in_steps_as_the_skill_says(make_shell: Callable[..., Shell], tmp_path: Path) -> None:
    """Both commands end with 6 while the job is in the queue, and continue when they are repeated."""
    said = read(ROOT / "SKILL.md")
    status, run = re.findall(
        r"`(python scripts/check_status.py [^`]*--timeout 9m|run_batch.py [^`]*--timeout 9m)`", said
    )
    run = f"python scripts/{run}".replace("FILE", "requests.jsonl -o results.jsonl")
    with serve(tmp_path / "service", queue_delay=3600.0) as service:
        shell = make_shell(GOOGLE_GEMINI_BASE_URL=service.url, GEMINI_API_KEY="any")
        line = {"key": "a", "request": {"contents": [{"parts": [{"text": "Hi."}]}]}}
        (shell.folder / "requests.jsonl").write_text(json.dumps(line) + "\n")
        job = shell.run("python scripts/create_batch.py requests.jsonl").stdout
        status = f"JOB={job}{status}"
        shell.run(status.replace("--timeout 9m", "--timeout 0.2s"), code=6)
        shell.run(run.replace("--timeout 9m", "--timeout 0.2s"), code=6)

        httpx2.post(f"{service.url}/emulator/clock", json={"advance": 7200}).raise_for_status()

        shell.run(status.replace("--timeout 9m", "--timeout 60s"))
        shell.run(run.replace("--timeout 9m", "--timeout 60s"))
        assert [row["key"] for row in shell.rows("results.jsonl")] == ["a"]
        assert httpx2.get(f"{service.url}/emulator/accounting").json()["totals"]["paid"] == 1
