"""Every scenario of the catalogue that a command can meet is played somewhere here."""

from __future__ import annotations

import re
from pathlib import Path

from gemini_batch.emulator.faults.flex import FLEX
from gemini_batch.emulator.faults.scenarios import SCENARIOS
from gemini_batch.emulator.faults.vertex import VERTEX

HERE = Path(__file__).parent
#: Met by other clients only, or by what these commands do not do: listing models, schemas checked on our side,
#: names beside a request, calls with a tier, jobs of Vertex AI. Webhooks (W1 to W8) are played in ``tests/webhooks``
#: and ``tests/emulator``, tiers and Vertex AI in ``tests/emulator``.
ELSEWHERE = {"S1", "M1", "M1b", "G8", "G9", "C14", *FLEX, *VERTEX, *(f"W{number}" for number in range(1, 9))}


def test_every_scenario_is_played() -> None:
    text = "".join(path.read_text() for path in HERE.glob("test_*.py"))
    played = set(re.findall(r"\b([A-Z]\d+[a-z]?)\b", text))
    families = {name for name in SCENARIOS if re.fullmatch(r"[A-Z]\d+", name) and name in played}

    missing = {name for name in SCENARIOS if name not in played and name.rstrip("abcdei") not in families}

    assert missing - ELSEWHERE == set()
