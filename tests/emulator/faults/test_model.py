"""The kinds of faults: the effect decides, and each kind has only its own fields."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from gemini_batch.emulator.faults.armed import Faults
from gemini_batch.emulator.faults.model import (
    FIELDS,
    KINDS,
    Fault,
    JobFault,
    OutputFault,
    RowFault,
    TierFault,
    WireFault,
    change_fault,
    make_fault,
)
from gemini_batch.emulator.faults.scenarios import SCENARIOS, made


@pytest.mark.parametrize(
    ("fields", "fault"),
    [
        ({"operation": "batches.get", "status": 503}, WireFault(operation="batches.get", status=503)),
        ({"set": {"done": False}, "larger": 10}, WireFault(set={"done": False}, larger=10)),
        ({"body": ""}, WireFault(body="")),
        ({"delay_most": 20}, WireFault(delay_most=20)),
        ({"receive": 0}, WireFault(receive=0)),
        ({"job": "FAILED", "rows": 0, "code": 13}, JobFault(job="FAILED", rows=0, code=13)),
        ({"served": "standard", "tier": "flex"}, TierFault(served="standard", tier="flex")),
        ({"runs_on": True, "times": 0}, JobFault(runs_on=True, times=0)),
        ({"row": "error", "key": "row-1", "code": 8}, RowFault(row="error", key="row-1", code=8)),
        ({"output": "drop", "key": "row-1", "rows": 2}, OutputFault(output="drop", key="row-1", rows=2)),
    ],
)
def test_the_effect_decides(fields: dict[str, Any], fault: Any) -> None:
    """The same fields make the same fault, and it shows them again."""
    assert make_fault(fields) == fault
    assert msgspec.to_builtins(fault) == fields


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"status": 500, "key": "row-1"}, "a fault on calls, but key belongs to faults on output files and rows"),
        ({"job": "FAILED", "operation": "batches.get"}, "a fault on jobs, but operation belongs to faults on calls"),
        ({"row": "error", "rows": 2}, "a fault on rows, but rows belongs to faults on jobs and output files"),
        ({"output": "drop", "code": 2}, "a fault on output files, but code belongs to faults on jobs and rows"),
        (
            {"row": "error", "rows": 2, "state": "FAILED"},
            "rows belongs to faults on jobs and output files and state belongs to faults on calls",
        ),
        ({"status": 500, "row": "error"}, "status for calls; row for rows"),
        ({"sttus": 500}, "no field sttus; the fields are above, body, code, "),
        ({}, "needs an effect: for calls body, cut, .* or without_headers; for tiers served; for jobs job or runs_on"),
        ({}, "; for rows row; "),
        ({"operation": "batches.get", "status": 0}, "a fault on calls needs an effect"),
        ({"job": ""}, "a fault on jobs needs an effect: job or runs_on"),
        ({"error": "bad luck"}, "no error is called bad luck; the errors are aborted, "),
        ({"row": "odd"}, r"Invalid enum value 'odd' - at `\$.row`"),
        ({"status": "500"}, r"Expected `int`, got `str` - at `\$.status`"),
        ({"row": "error", "times": -1}, "must not be negative"),
        ({"row": "error", "skip": -1}, "must not be negative"),
        ({"row": "error", "probability": 1.5}, "between 0 and 1"),
        ({"served": "gold"}, r"Invalid enum value 'gold' - at `\$.served`"),
        ({"served": "flex", "operation": "batches.get"}, "a fault on tiers, but operation belongs to faults on calls"),
        ({"delay": -1}, "delay must not be negative"),
        ({"delay": 2, "delay_most": 1}, "delay_most not less than it"),
        ({"status": 503, "above": -1}, "above must not be negative"),
        ({"delay": 1, "above": 2}, "needs an effect that replaces the work"),
        ({"status": 503, "commit": True, "above": 2}, "needs an effect that replaces the work"),
        ({"receive": 1, "above": 2}, "needs an effect that replaces the work"),
        ({"receive": 1, "tier": "flex"}, "a call's tier is in its body"),
        ({"job": "FAILED", "rows": -1}, "rows must not be negative"),
        ({"output": "drop", "rows": -1}, "rows must not be negative"),
        *(
            ({"row": "error", name: "/(/"}, "not a regular expression")
            for name in ("resource", "model", "display_name", "key")
        ),
        ({"output": "drop", "key": "/(/"}, "not a regular expression"),
        *(({"status": 500, name: "/(/"}, "not a regular expression") for name in ("operation", "state", "tier")),
    ],
)
def test_what_is_no_fault(fields: dict[str, Any], said: str) -> None:
    """The error names the field, and the kinds that have it."""
    with pytest.raises(ValueError, match=said):
        make_fault(fields)


def test_changing_a_fault() -> None:
    """Its kind stays."""
    assert change_fault(RowFault(row="blocked", key="a"), {"row": "text", "text": "x"}) == RowFault(
        row="text", text="x", key="a"
    )
    with pytest.raises(ValueError, match="this is a fault on rows, but status belongs to faults on calls"):
        change_fault(RowFault(row="blocked"), {"status": 500})
    with pytest.raises(ValueError, match="this is a fault on rows, but operation belongs to faults on calls"):
        made("G13", operation="batches.get")


def test_kinds_share_no_effect() -> None:
    """So the effect decides; and what a kind calls an effect or a pattern is one of its fields."""
    effects = [name for kind in KINDS for name in kind.EFFECTS]
    assert len(effects) == len(set(effects))
    for kind in KINDS:
        assert kind.EFFECTS | set(kind.PATTERNS) <= set(kind.__struct_fields__) <= FIELDS


def test_scenarios_have_faults_of_one_kind() -> None:
    """Otherwise a field to change could not belong to all of them."""
    assert {len({type(fault) for fault in one.faults}) for one in SCENARIOS.values()} == {0, 1}


def test_each_kind_has_its_place() -> None:
    """Armed together, shown in the order of arming, disarmed one by one."""
    faults = Faults()
    given: list[Fault] = [
        OutputFault(output="drop"),
        WireFault(status=500),
        RowFault(row="error"),
        JobFault(job="FAILED"),
        TierFault(served="standard"),
    ]
    assert faults.arm(*given, scenario="mine") == [1, 2, 3, 4, 5]
    assert [one["fault"] for one in faults.shown()] == [msgspec.to_builtins(fault) for fault in given]
    kinds = (faults.output, faults.wire, faults.row, faults.job, faults.tier)
    assert [one.fault for armed in kinds for one in armed] == given
    for left in (4, 3, 2, 1, 0):
        assert faults.clear(5 - left)
        assert len(faults.shown()) == left
    assert not faults.clear(5)
    assert faults.arm(WireFault(status=500)) == [6]
    assert faults.clear()
    assert faults.shown() == []
