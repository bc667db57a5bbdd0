"""google-genai's own tests, as its wheel ships them, with the emulator for the service; and our own with an older SDK.

The page says what these runs come to. Numbers, versions and the list of what is left out are read from it.
"""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from conformance import environments, page, seeded

pytestmark = [pytest.mark.conformance, pytest.mark.timeout(1200)]

FOLDERS = ("batches", "files", "shared/batches", "shared/files")
_OTHER_PLATFORM = "skipped: Skipping Vertex AI tests in API mode (GEMINI ONLY config enabled)."
_SUITE_INI = """[pytest]
consider_namespace_packages = true
filterwarnings = ignore
"""
_OURS_INI = """[pytest]
addopts = --import-mode=importlib -p gemini_batch.testing -p no:asyncio
pythonpath = src tests
filterwarnings =
    error
"""


@dataclass(frozen=True, slots=True)
class Client:
    """One version of google-genai in a home of its own."""

    python: Path

    @property
    def version(self) -> str:
        return self.ask("import google.genai; print(google.genai.__version__)")

    @property
    def tests(self) -> Path:
        """The suite inside the installed package."""
        return Path(self.ask("import google.genai; print(google.genai.__path__[0])")) / "tests"

    def ask(self, code: str) -> str:
        done = subprocess.run([self.python, "-c", code], capture_output=True, text=True, check=True)
        return done.stdout.strip()


#: The SDK of today, which calls v1, and the last one that called v1beta.
_WANTED = {"3": "google-genai[aiohttp,httpx]>=3,<4", "2": "google-genai[aiohttp]==2.34.0"}


@pytest.fixture(scope="module")
def client(request: pytest.FixtureRequest) -> Client:
    name = f"google-genai-{request.param}"
    return Client(environments.python(name, _WANTED[request.param], "hypothesis", "pytest", "pytest-asyncio"))


@pytest.mark.parametrize("client", ["3", "2"], indirect=True)
def test_their_own_suite(client: Client, tmp_path: Path) -> None:
    """All that can apply passes, and the page tells how many, and what is left out."""
    _lay_media(client.tests)
    ini, report = tmp_path / "suite.ini", tmp_path / "report.json"
    ini.write_text(_SUITE_INI)
    (tmp_path / "replays").mkdir()
    options: list[str | Path] = [
        "-p",
        "conformance.seeded",
        "-p",
        "no:cacheprovider",
        "-c",
        ini,
        "--rootdir",
        client.tests.parent,
    ]
    done = subprocess.run(
        # -P: what stands beside the tests is called `types`, and must not be taken for Python's.
        [client.python, "-P", "-m", "pytest", "-q", "--mode=api", *options, *(client.tests / one for one in FOLDERS)],
        env=_environment()
        | {
            "GOOGLE_API_KEY": seeded.KEY,
            "GOOGLE_GENAI_REPLAYS_DIRECTORY": str(tmp_path / "replays"),
            "GOOGLE_GENAI_RUN_GEMINI_ONLY_IN_API_MODE": "1",
            "PYTHONPATH": os.pathsep.join(str(environments.ROOT / one) for one in ("src", "tests")),
            seeded.REPORT: str(report),
        },
        cwd=client.tests.parent,  # the tests open `tests/data/…`
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = seeded.Report(**json.loads(report.read_text()))
    passed = {name for name, outcome in found.outcomes.items() if outcome == "passed"}
    skipped = {name for name, outcome in found.outcomes.items() if outcome == _OTHER_PLATFORM}
    assert set(found.outcomes) == passed | skipped
    assert sorted(found.left_out) == sorted(page.left_out())
    counts = [len(passed), len(passed & set(found.heard)), len(found.left_out), len(skipped)]
    assert [client.version, *map(str, counts)] in [row[1:] for row in page.table("google-genai's own tests")]


@pytest.mark.parametrize("client", ["2"], indirect=True)
def test_whole_lives(client: Client, tmp_path: Path) -> None:
    """Our own lives of jobs and files; with the SDK of today they are part of every run of the tests."""
    ini = tmp_path / "ours.ini"
    ini.write_text(_OURS_INI)
    root = environments.ROOT
    lives = root / "tests" / "conformance" / "test_python_sdk.py"
    done = subprocess.run(
        [client.python, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", ini, "--rootdir", root, lives],
        env=_environment() | {"PYTHONPATH": "src"},
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "skipped" not in done.stdout
    lived = done.stdout.strip().splitlines()[-1].partition(" passed")[0]
    assert [client.version, lived] in [row[1:3] for row in page.table("Life cycles")]


def _lay_media(tests: Path) -> None:
    """Put stand-ins where the suite looks for its pictures, which the wheel does not carry."""
    (tests / "data").mkdir(exist_ok=True)
    for name, data in seeded.MEDIA.items():
        (tests / "data" / name).write_bytes(data)


def _environment() -> dict[str, str]:
    """Ours, without what speaks of the service or of this run of pytest."""
    others = ("GOOGLE_", "GEMINI_", "PYTEST_")
    return {name: value for name, value in os.environ.items() if not name.startswith(others)}
