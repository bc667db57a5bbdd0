"""The events of the JSON stream: every field is on its page, with the name that it has in the line."""

from __future__ import annotations

import re
from dataclasses import fields
from typing import Any

import pytest

from docs.pages import ROOT
from gemini_batch.events import Notice, RunProgress, Transfer, event_name


def documented() -> dict[str, list[str]]:
    """Each event of the table in docs/runs.md with its fields, in order."""
    found: dict[str, list[str]] = {}
    event = ""
    text = (ROOT / "docs" / "runs.md").read_text(encoding="utf-8")
    table = text.partition("| event | field | meaning |\n")[2].partition("\n\n")[0]
    for line in table.splitlines()[1:]:
        name, names, _ = (cell.strip() for cell in line.strip("|").split("|"))
        event = name.strip("`") or event
        found.setdefault(event, []).extend(re.findall(r"`(\w+)`", names))
    return found


@pytest.mark.parametrize("kind", [Notice, Transfer, RunProgress])
def test_every_field_is_documented(kind: type[Any]) -> None:
    name = event_name(object.__new__(kind))
    assert sorted(documented()[name]) == sorted(field.name for field in fields(kind))


def test_no_other_event_is_documented() -> None:
    assert set(documented()) == {"notice", "transfer", "run_progress"}
