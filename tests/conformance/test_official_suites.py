"""google-genai's own tests, as its wheel ships them, with the emulator for the service.

The page says what these runs come to: numbers and versions are read from it.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from conformance import clients, environments, left_out, page, seeded, seeded_vertex
from conformance.clients import parameter

if TYPE_CHECKING:
    from conformance.clients import Client

pytestmark = pytest.mark.timeout(1200)

#: The folders of each part of the suite.
PARTS = {
    "batches, files": ("batches", "files", "shared/batches", "shared/files"),
    "models": ("models", "shared/models"),
    "caches": ("caches", "shared/caches"),
}
#: Why the suite skips tests by itself. It skips a test that meets 429, too: that is not among the reasons.
_SKIPS = {
    "skipped: Skipping Vertex AI tests in API mode (GEMINI ONLY config enabled).",
    "skipped: Skipping Gemini API tests in API mode (VERTEX ONLY config enabled).",
    "skipped: Test requires Vertex AI",
    "skipped: Vertex MCP test is not applicable to MLDev.",
    "skipped: pydantic serialization is flaky",
}
#: Those that call Vertex AI for what the emulator serves there.
VERTEX = ("batches", "shared/batches")
_SUITE_INI = """[pytest]
consider_namespace_packages = true
filterwarnings = ignore
"""


SUITE = ("pytest", "pytest-asyncio", "pytest-timeout")


#: All parts with the newest version; the first, which CI runs, also with the last version that called v1beta.
RUNS = [
    *(parameter(clients.PYTHON[-1], part, fast=part == "batches, files") for part in PARTS),
    parameter(clients.PYTHON[-2], "batches, files"),
]


@pytest.mark.parametrize(("client", "part"), RUNS)
def test_their_own_suite(client: Client, part: str, tmp_path: Path) -> None:
    """All that can apply passes, and the page tells how many, and what is left out."""
    environment = {"GOOGLE_API_KEY": seeded.KEY, "GOOGLE_GENAI_RUN_GEMINI_ONLY_IN_API_MODE": "1"}
    found = _outcomes(client, PARTS[part], tmp_path, "conformance.seeded", environment)
    mine = {test for test in left_out.listed() if test.rpartition("/")[0] in PARTS[part]}
    _judge(found, part, client, mine)


@pytest.mark.parametrize("client", [parameter(clients.PYTHON[-1], fast=True)])
def test_the_half_for_vertex_ai(client: Client, tmp_path: Path) -> None:
    """The same for batches of Vertex AI, with their buckets and tables."""
    environment = {
        "GOOGLE_CLOUD_PROJECT": seeded_vertex.PROJECT,
        "GOOGLE_CLOUD_LOCATION": seeded_vertex.LOCATION,
        "GOOGLE_GENAI_RUN_VERTEX_ONLY_IN_API_MODE": "1",
    }
    found = _outcomes(client, VERTEX, tmp_path, "conformance.seeded_vertex", environment)
    _judge(found, "batches, with Vertex AI", client, set(left_out.listed(left_out.VERTEX)))


def _outcomes(
    client: Client, folders: tuple[str, ...], work: Path, plugin: str, environment: dict[str, str]
) -> seeded.Report:
    """What became of the tests in these folders."""
    python = client.python(*SUITE, *environments.needs())
    tests = _suite(python)
    _lay_media(tests)
    ini, report = work / "suite.ini", work / "report.json"
    ini.write_text(_SUITE_INI)
    (work / "replays").mkdir()
    plugins = ("-p", plugin, "-p", "no:cacheprovider", "-p", "no:randomly")
    done = subprocess.run(
        # -P: what stands beside the tests is called `types`, and must not be taken for Python's.
        [
            *(python, "-P", "-m", "pytest", "-q", "--mode=api", "--timeout=120", *plugins),
            *("-c", ini, "--rootdir", tests.parent),
            *(tests / folder for folder in folders),
        ],
        env=_environment()
        | environment
        | {
            "GOOGLE_GENAI_REPLAYS_DIRECTORY": str(work / "replays"),
            "PYTHONPATH": os.pathsep.join(str(environments.ROOT / one) for one in ("src", "tests")),
            seeded.REPORT: str(report),
        },
        cwd=tests.parent,  # the tests open `tests/data/…`
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return seeded.Report(**json.loads(report.read_text()))


def _judge(found: seeded.Report, part: str, client: Client, listed: set[str]) -> None:
    assert set(found.outcomes.values()) <= {"passed", "left out", *_SKIPS}
    assert set(found.left_out) == listed, "what is listed and what exists"
    passed = {name for name, outcome in found.outcomes.items() if outcome == "passed"}
    skipped = sum(outcome in _SKIPS for outcome in found.outcomes.values())
    counts = [len(passed), len(passed & set(found.heard)), len(found.left_out), skipped]
    assert [part, client.version, *map(str, counts)] in page.table("google-genai's own tests")


def _suite(python: Path) -> Path:
    """The tests inside the installed package."""
    code = "import google.genai; print(google.genai.__path__[0])"
    done = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True)
    return Path(done.stdout.strip()) / "tests"


def test_the_page_counts_what_is_left_out() -> None:
    """By reason, in the order of the list; so every reason is on the page."""
    for heading, file in (("Left out", left_out.LIST), ("Left out with Vertex AI", left_out.VERTEX)):
        counted = [[reason.why, str(len(reason.tests))] for reason in left_out.reasons(file)]
        assert page.table(heading) == counted


def _lay_media(tests: Path) -> None:
    """Put stand-ins where the suite looks for its pictures, which the wheel does not carry."""
    (tests / "data").mkdir(exist_ok=True)
    for name, data in seeded.MEDIA.items():
        (tests / "data" / name).write_bytes(data)


def _environment() -> dict[str, str]:
    """Ours, without what speaks of the service or of this run of pytest."""
    others = ("GOOGLE_", "GEMINI_", "PYTEST_")
    return {name: value for name, value in os.environ.items() if not name.startswith(others)}
