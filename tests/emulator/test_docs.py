"""The page on faults: its tables are the program's, its examples work."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from gemini_batch.emulator.faults import model
from gemini_batch.emulator.faults.error_bodies import WORDINGS
from gemini_batch.emulator.faults.model import FIELDS, JobFault, TierFault, WebhookFault, WireFault
from gemini_batch.emulator.faults.scenarios import SCENARIOS
from gemini_batch.emulator.http.routes import operations
from gemini_batch.emulator.http.startup import setup
from gemini_batch.emulator.responders.builtin import respond
from gemini_batch.emulator.service.core import Emulator
from gemini_batch.emulator.state.quotas import Quotas
from gemini_batch.emulator.vertex.storage.uploads import ANY, RECEIVED

if TYPE_CHECKING:
    from gemini_batch.testing import GeminiEmulator

PAGE = Path(__file__).parents[2] / "docs" / "faults.md"


@cache
def sections() -> dict[str, str]:
    """The text under each heading."""
    _, *parts = re.split(r"^## (.+)$", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return dict(zip(parts[::2], parts[1::2], strict=True))


def first_cells(section: str) -> list[str]:
    """The names in the first column of a section's tables."""
    cells = re.findall(r"^\| (`[^|]*) \|", sections()[section], re.MULTILINE)
    return [name for cell in cells for name in re.findall(r"`(\w+)`", cell)]


def test_the_scenarios() -> None:
    """All of them, in the words that the program prints."""
    rows = re.findall(r"^\| (\w+) \| (.+) \|$", sections()["Scenarios"], re.MULTILINE)
    assert rows[1:] == [(name, scenario.about) for name, scenario in SCENARIOS.items()]


def test_the_fields() -> None:
    """Every field of a fault and of the quotas has its place; each table has only fields of its kind."""
    which = set(first_cells("Which calls, jobs and rows"))
    calls, jobs = set(first_cells("What is done to a call")), set(first_cells("What happens to a job"))
    webhooks, tiers = {"webhook", "late"}, set(first_cells("Which tier serves a call"))
    assert calls <= set(WireFault.__struct_fields__)
    assert webhooks <= set(WebhookFault.__struct_fields__)
    assert all(f"`{name}`" in sections()["What happens to a webhook"] for name in webhooks)
    assert tiers == TierFault.EFFECTS
    assert jobs <= set(JobFault.__struct_fields__)
    of_rows = {"row", "reason", "text", "megabytes", "details", "output", "commit"}
    assert which | calls | tiers | jobs | webhooks | of_rows == FIELDS
    for name in ("reason", "text", "megabytes", "details"):
        assert f"`{name}`" in sections()["What happens to a row"]
    assert set(first_cells("Quotas")) == set(Quotas.__struct_fields__)


def test_the_effects() -> None:
    """Every outcome of a row, change of a file, way of a list and error has its name there."""
    assert set(first_cells("What happens to a row")) == set(get_args(model.RowOutcome))
    assert set(first_cells("What happens to an output file")) == set(get_args(model.OutputChange))
    assert set(first_cells("What happens to a webhook")) == set(get_args(model.WebhookChange))
    call = sections()["What is done to a call"]
    assert set(get_args(model.ListChange)) <= set(re.findall(r"`(\w+)`", call))
    (errors,) = re.findall(r"^\| `error` \| ([^|]+) \|$", call, re.MULTILINE)
    assert set(re.findall(r"`(\w+)`", errors)) == set(WORDINGS)
    states = re.findall(r"`([A-Z_]+)`", sections()["What happens to a job"])
    assert set(states) == set(get_args(model.JobState))


def test_the_operations(tmp_path: Path) -> None:
    """Those that the emulator has."""
    world = Emulator(tmp_path, respond)
    names = {operation for _, _, operation, _ in operations(world) if not operation.startswith("emulator.")}
    world.close()
    uploads = {f"files.upload.{one}" for one in ("start", "chunk", "query", "cancel", "whole")}
    (row,) = re.findall(r"^\| `operation` \| (.+) \|$", sections()["Which calls, jobs and rows"], re.MULTILINE)
    assert set(re.findall(r"`([\w.]+)`", row)) == names - {"files.upload", ANY} | uploads | RECEIVED


def test_the_examples(tmp_path: Path, gemini_emulator: GeminiEmulator) -> None:
    """The test runs, the file is read."""
    code, toml = re.findall(r"^```text\n(.*?)^```$", sections()["Arming a fault"], re.MULTILINE | re.DOTALL)
    names: dict[str, Any] = {}
    exec(code, names)
    names["test_a_lost_answer"](gemini_emulator)
    assert gemini_emulator.faults.armed() == []
    path = tmp_path / "faults.toml"
    path.write_text(toml)
    made = setup(file=path)
    assert len(made.armed) == 4
    assert made.quotas == Quotas(tier=1, jobs=2, when_full="wait")
