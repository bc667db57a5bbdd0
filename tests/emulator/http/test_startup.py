"""What a standing emulator begins with: scenarios, a file of faults and quotas, a tier."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import httpx2
import pytest

from gemini_batch.emulator.faults.model import RowFault
from gemini_batch.emulator.faults.scenarios import SCENARIOS
from gemini_batch.emulator.http.server import serve
from gemini_batch.emulator.http.startup import Setup, setup
from gemini_batch.emulator.state.quotas import Quotas
from gemini_batch.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

FILE = """
scenarios = ["L6"]

[[fault]]
operation = "batches.list"
status = 503
times = 2

[[fault]]
scenario = "G13"
key = "/row-[12]$/"

[quotas]
tier = 2
jobs = 3
when_full = "wait"
tokens = { "gemini-3.8-flash" = 10 }
"""


def test_all_of_it(tmp_path: Path) -> None:
    """Scenarios by name first, then those of the file, then its faults; its quotas are the last word."""
    path = tmp_path / "faults.toml"
    path.write_text(FILE)
    made = setup(["C8a", "C3c"], file=path, tier=1)
    assert [name for name, _ in made.armed] == ["C8a", "C3c", "L6", "", "G13"]
    assert made.quotas == Quotas(tier=2, jobs=3, when_full="wait", tokens={"gemini-3.8-flash": 10}, release_after=900.0)
    assert {fault.key for fault in made.armed[-1][1].faults if isinstance(fault, RowFault)} == {"/row-[12]$/"}
    with serve(tmp_path / "data", setup=made) as running:
        headers = {"x-goog-api-key": "k"}
        seen = [httpx2.get(f"{running.url}/v1/batches", headers=headers).status_code for _ in range(3)]
        assert seen == [503, 503, 200]
        shown = httpx2.get(f"{running.url}/emulator/faults").json()["faults"]
        assert shown[0]["scenario"] == "C8a"
        assert httpx2.get(f"{running.url}/emulator/quotas").json()["quotas"]["jobs"] == 3
        httpx2.delete(f"{running.url}/emulator/faults")
        assert running.emulator.limits.quotas == made.quotas


def test_a_tier_alone() -> None:
    """With the jobs that it may have."""
    assert setup(tier=1) == Setup((), Quotas(tier=1, jobs=100))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[[fault]]\nstatus = 500\n[[fault]]\nstatus = 500\nrow = 'error'\n", "number 2"),
        ("[[fault]]\nscenario = 'C99'\n", "C99"),
        ("[[fault]]\nscenario = 'C8a'\njobs = 3\n", "C8a has no field jobs"),
        ("[[faults]]\nstatus = 500\n", "faults"),
        ("scenarios = 'C8a'\n", "scenarios"),
        ("[[fault]\n", "line 1"),
        ("[quotas]\ntier = 9\n", "tier"),
        ("[[fault]]\nkey = '/(/'\nrow = 'error'\n", "not a regular expression"),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, text: str, said: str) -> None:
    """With the file's name, and where in it."""
    path = tmp_path / "faults.toml"
    path.write_text(text)
    with pytest.raises(UsageError, match=said) as caught:
        setup(file=path)
    assert caught.value.file == str(path)


def test_the_command(tmp_path: Path) -> None:
    """It lists scenarios, arms them, and refuses unknown ones."""
    command = [sys.executable, "-m", "gemini_batch", "emulator"]
    listed = subprocess.run([*command, "--list-scenarios"], capture_output=True, text=True, check=True)
    assert [one.split(maxsplit=1)[0] for one in listed.stdout.splitlines()] == list(SCENARIOS)
    refused = subprocess.run([*command, "--scenario", "C99"], capture_output=True, text=True, check=False)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "C99" in refused.stderr
    path = tmp_path / "faults.toml"
    path.write_text('[[fault]]\noperation = "models.get"\nstatus = 418\n')
    options = ["--scenario", "P3", "--faults", str(path), "--tier", "1"]
    with subprocess.Popen([*command, *options], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        try:
            shown = httpx2.get(f"{url}/emulator/faults").json()["faults"]
            assert [one.get("scenario", "") for one in shown] == ["P3", ""]
            assert httpx2.get(f"{url}/emulator/quotas").json()["quotas"] == {"tier": 1, "jobs": 100}
        finally:
            process.terminate()


@pytest.mark.parametrize(("name", "near"), [("ZZ", None), ("g13", "G13"), ("c3A", "C3a")])
def test_an_unknown_scenario_is_named_once(name: str, near: str | None) -> None:
    """Not with all hundred others; the option that lists them is named."""
    with pytest.raises(UsageError) as caught:
        setup([name])

    said = str(caught.value)
    assert said.lower().count("scenario is called") == 1
    assert f"'{name}'" in said
    assert "--list-scenarios" in said
    assert len(said) < 200
    assert ("did you mean" in said) is (near is not None)
    assert f"did you mean {near}?" in said or near is None
