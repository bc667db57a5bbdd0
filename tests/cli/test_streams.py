"""The exit code when a stream cannot be used: stderr never decides it, stdout only where it carries the answer."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from cli.conftest import request

if TYPE_CHECKING:
    from collections.abc import Callable

    Run = Callable[[str], subprocess.CompletedProcess[str]]

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")  # noqa: PTH110 - a device

#: How a shell connects the streams, and which of them then cannot be written.
STREAMS = {
    "stderr full": ("2> /dev/full", {"stderr"}),
    "stderr closed": ("2>&-", {"stderr"}),
    "stdout full": ("> /dev/full", {"stdout"}),
    "stdout closed": (">&-", {"stdout"}),
    "both closed": (">&- 2>&-", {"stdout", "stderr"}),
    "all closed": ("<&- >&- 2>&-", {"stdout", "stderr"}),
}


@dataclass(frozen=True)
class Row:
    """A command: its words and its exit code with streams that work.

    ``answers``: its answer goes to stdout. ``silent``: there is no answer here. ``spends``: it sends requests.
    """

    words: str
    code: int
    answers: bool = True
    spends: bool = False
    silent: bool = False


#: Of three requests, one is cut off, so that `1` is the honest code of what writes results.
COMMANDS = [
    Row("create fresh.jsonl", 0, spends=True),
    Row("create fresh.jsonl --json", 0, spends=True),
    Row("run fresh.jsonl -o out.jsonl", 1, spends=True),
    Row("run fresh.jsonl -o out.jsonl --json", 1, spends=True),
    Row("retry $JOB --only truncated -o out.jsonl", 1, spends=True),
    Row("status $JOB", 0),
    Row("results $JOB", 1),
    Row("results $JOB --json", 1),
    Row("results $JOB -o -", 1),
    Row("results $JOB -o out.jsonl", 1, answers=False),
    Row("show $JOB", 0),
    Row("show $JOB --json", 0),
    Row("list", 0),
    Row("cancel $JOB", 0),
    Row("clean --yes", 0),
    Row("validate fresh.jsonl", 0),
    Row("doctor", 0, silent=True),
    Row("models", 0),
    Row("skill install", 0),
    Row("skill install --json", 0),
    Row("emulator --list-scenarios", 0),
    Row("--help", 0),
    Row("--version", 0),
    Row("status no/name", 2, silent=True),
    Row("xyzzy", 2, answers=False),
]


@pytest.fixture(scope="module")
def user(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A user's folder with a job that has ended, and requests that were not sent."""
    folder = tmp_path_factory.mktemp("user")
    short = {"generationConfig": {"maxOutputTokens": 8}}
    lines = [request("a"), request("b"), request("c", **short)]
    (folder / "old.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    lines = [request("x"), request("y"), request("z", **short)]
    (folder / "fresh.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    done = _typed(folder, f"{sys.executable} -m gemini_batch run old.jsonl")
    assert done.returncode == 1, done.stderr
    listed = _typed(folder, f"{sys.executable} -m gemini_batch list --json")
    (folder / "job").write_text(json.loads(listed.stdout)["result"][0]["job"])
    return folder


@pytest.fixture
def typed(user: Path, tmp_path: Path) -> Run:
    """Type a line into a shell in a copy of the user's folder."""
    folder = tmp_path / "user"
    shutil.copytree(user, folder)
    return lambda line: _typed(folder, line)


def _typed(folder: Path, line: str) -> subprocess.CompletedProcess[str]:
    job = folder / "job"
    env = {
        **os.environ,
        "GEMINI_BATCH_HOME": str(folder / "home"),
        "GEMINI_BATCH_OFFLINE": "1",
        "JOB": job.read_text() if job.exists() else "",
    }
    return subprocess.run(
        ["bash", "-c", line],
        cwd=folder,
        env=env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.mark.parametrize("row", COMMANDS, ids=lambda row: row.words)
def test_every_command_with_streams_that_cannot_be_written(user: Path, tmp_path: Path, row: Row) -> None:
    """What cannot be said is not said; the exit code stays the honest one."""
    for name, (connected, broken) in STREAMS.items():
        folder = tmp_path / name.replace(" ", "-")
        shutil.copytree(user, folder)

        done = _typed(folder, f"{sys.executable} -m gemini_batch {row.words} {connected}")

        mute = row.answers and "stdout" in broken
        assert done.returncode == (3 if mute else row.code), (name, done)
        assert "Traceback" not in done.stderr, name
        if mute and "stderr" not in broken:
            assert "stdout cannot be written" in done.stderr, name
        if row.answers and not mute and not row.silent:
            assert done.stdout, name
        if mute and row.spends:
            assert _jobs(folder) == _jobs(user), f"{name}: something was sent"
        if "out.jsonl" in row.words and not mute:
            assert len((folder / "out.jsonl").read_text().splitlines()) == 3, name


def _jobs(folder: Path) -> int:
    listed = _typed(folder, f"{sys.executable} -m gemini_batch list --json")
    return len(json.loads(listed.stdout)["result"])


def test_the_answer_is_the_same_without_stderr(typed: Run) -> None:
    said = [typed(f"{sys.executable} -m gemini_batch status $JOB {end}").stdout for end in ("", "2>&-", "2> /dev/full")]

    assert said == ["JOB_STATE_SUCCEEDED\n"] * 3


# The ways in ----------------------------------------------------------------------------------------------------------

_SCRIPTS = {
    "create_batch.py": "create",
    "check_status.py": "status",
    "get_results.py": "results",
    "run_batch.py": "run",
}
_STARTS = {
    "python -m": f"{sys.executable} -m gemini_batch %s",
    "console script": f"{Path(sys.executable).with_name('gemini-batch')} %s",
    **{name: f"{sys.executable} {ROOT / 'scripts' / name}" for name in _SCRIPTS},
}


def start(name: str, command: str) -> str:
    """The beginning of a command line for one of the ways in."""
    return _STARTS[name] % command if "%s" in _STARTS[name] else _STARTS[name]


@pytest.mark.parametrize("name", _STARTS)
def test_every_way_in_survives_its_streams(typed: Run, name: str) -> None:
    words = {"create": "fresh.jsonl", "status": "$JOB", "results": "$JOB", "run": "old.jsonl"}
    command = _SCRIPTS.get(name, "status")
    code = {"create": 0, "status": 0, "results": 1, "run": 1}[command]

    for connected, broken in STREAMS.values():
        done = typed(f"{start(name, command)} {words[command]} {connected}")

        assert done.returncode == (3 if "stdout" in broken else code), (connected, done)


@pytest.fixture
def broken(tmp_path: Path) -> Callable[[str, str], str]:
    """Put a module before the one that is installed; returns the prefix of a command line that finds it."""

    def make(name: str, text: str) -> str:
        folder = tmp_path / "broken"
        folder.mkdir(exist_ok=True)
        (folder / f"{name}.py").write_text(text)
        return f'PYTHONPATH="{folder}:${{PYTHONPATH:-{ROOT / "src"}}}"'

    return make


@pytest.mark.parametrize("name", _STARTS)
@pytest.mark.parametrize("module", ["click", "msgspec", "httpx2", "filelock"])
def test_a_broken_installation_is_named(typed: Run, broken: Callable[[str, str], str], name: str, module: str) -> None:
    """Whenever the module is needed: at the start, or once the command works."""
    prefix = broken(module, "import no_such_module_anywhere")
    command = _SCRIPTS.get(name, "create")
    words = "fresh.jsonl" if command in {"create", "run"} else "batches/unknown"

    done = typed(f"{prefix} {start(name, command)} {words}")

    if module == "filelock" and command not in {"create", "run"}:
        assert done.returncode in {3, 4}  # nothing is locked for a name that is unknown
        return
    assert done.returncode == 3, done
    assert "installation of gemini-batch is incomplete or damaged" in done.stderr
    assert "no_such_module_anywhere" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("text", ["raise RuntimeError('odd')", "def (", "raise SystemExit(1)", "import os; os.x"])
@pytest.mark.parametrize("name", ["python -m", "console script", "get_results.py"])
def test_whatever_fails_at_the_start_is_3(typed: Run, broken: Callable[[str, str], str], name: str, text: str) -> None:
    prefix = broken("click", text)

    done = typed(f"{prefix} {start(name, 'results')} $JOB -o out.jsonl")

    assert done.returncode == 3, done
    assert done.stderr.startswith("gemini-batch: ")
    assert "Traceback" not in done.stderr


def test_a_broken_installation_as_json(typed: Run, broken: Callable[[str, str], str]) -> None:
    prefix = broken("click", "import no_such_module_anywhere")

    done = typed(f"{prefix} {sys.executable} -m gemini_batch results $JOB --json")

    document = json.loads(done.stdout)
    assert (document["version"], document["command"], document["exit_code"]) == (1, "results", 3)
    assert document["error"]["code"] == "broken_installation"


@pytest.mark.parametrize("connected", ["2> /dev/full", "2>&-", ">&- 2>&-"])
@pytest.mark.parametrize("name", [*_STARTS])
def test_a_broken_installation_that_cannot_be_told(
    typed: Run, broken: Callable[[str, str], str], name: str, connected: str
) -> None:
    prefix = broken("click", "import no_such_module_anywhere")

    assert typed(f"{prefix} {start(name, 'list')} x {connected}").returncode == 3


@pytest.mark.parametrize("connected", ["", "2> /dev/full", "2>&-"])
@pytest.mark.parametrize("script", _SCRIPTS)
def test_a_script_without_the_package(tmp_path: Path, script: str, connected: str) -> None:
    """A copy of the scripts alone, with a Python that has nothing installed."""
    shutil.copytree(ROOT / "scripts", tmp_path / "scripts")

    done = _typed(tmp_path, f"PATH= {sys.executable} -S -E {tmp_path}/scripts/{script} x {connected}")

    assert done.returncode == 3, done
    assert connected or "the gemini-batch library is not installed" in done.stderr


def test_a_fault_of_ours_is_3(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Also where a library wants to leave the process."""
    from gemini_batch import cli
    from gemini_batch.commands import list_jobs

    for error in (SystemExit(1), SystemExit("words"), MemoryError(), RuntimeError("odd"), RecursionError("deep")):

        async def fail(*_: object, error: BaseException = error, **__: object) -> None:
            raise error

        monkeypatch.setattr(list_jobs, "list_jobs", fail)

        assert cli.execute(["list", "--offline"]) == 3, repr(error)
        assert "This is a fault in gemini-batch" in capsys.readouterr().err


# A reader that is gone -----------------------------------------------------------------------------------------------

#: Commands whose answer goes to stdout; {job} is an offline job that has ended.
ANSWERS = (
    "--help", "models --all", "list --offline", "list --offline --json", "status {job}", "results {job}",
    "results {job} -o -", "results {job} --json", "validate in.jsonl", "validate in.jsonl --json",
    "create in.jsonl --offline",
)  # fmt: skip


@pytest.mark.parametrize("words", ANSWERS)
def test_a_reader_that_is_gone_is_no_error(tmp_path: Path, words: str) -> None:
    """`… | head` ends with 141, and nothing is said about it."""
    (tmp_path / "in.jsonl").write_bytes(
        b"".join(b'{"key":"k%d","request":{"contents":[{"parts":[{"text":"Hi."}]}]}}\n' % n for n in range(40))
    )
    environment = {**os.environ, "GEMINI_BATCH_HOME": str(tmp_path / "home"), "GEMINI_BATCH_POLL": "0"}
    environment.pop("GEMINI_API_KEY", None)

    def run(*words: str, out: int = subprocess.PIPE) -> subprocess.CompletedProcess[str]:
        program = [sys.executable, "-m", "gemini_batch", *words]
        return subprocess.run(
            program, cwd=tmp_path, env=environment, stdout=out, stderr=subprocess.PIPE, text=True, check=False
        )

    job = run("create", "in.jsonl", "--offline").stdout.strip()
    run("status", job, "--wait")
    reader, writer = os.pipe()
    os.close(reader)

    done = run(*words.format(job=job).split(), out=writer)
    os.close(writer)

    assert done.returncode == 141, done.stderr
    assert "unexpected" not in done.stderr
    assert "Traceback" not in done.stderr
