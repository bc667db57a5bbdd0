"""The scenarios of ordinary calls with a tier, which the service serves when it has capacity, or refuses."""

from __future__ import annotations

from typing import Any

from gemini_batch.emulator.faults.model import TierFault, WireFault
from gemini_batch.emulator.faults.scenario import Scenario, one, wire


def _flex(**effect: Any) -> WireFault:
    return wire("models.generateContent|models.streamGenerateContent", tier="flex", **effect)


FLEX: dict[str, Scenario] = {
    "F0": Scenario("A call with the tier flex is answered, at half the price. Nothing is armed."),
    "F1": one("Two calls with the tier flex are refused with 503: no capacity.", _flex(error="high_demand", times=2)),
    "F2": one(
        "One in twenty calls with the tier flex is refused with 503.",
        _flex(error="high_demand", times=0, probability=0.05),
    ),
    "F3": one(
        "While more than 16 calls with the tier flex are in flight, further ones are refused with 503.",
        _flex(error="high_demand", times=0, above=16),
    ),
    "F4": one(
        "Two calls with the tier flex are refused, with 429 and with 503, and a Retry-After header.",
        _flex(error="quota_sync", headers={"Retry-After": "38"}),
        _flex(error="high_demand", headers={"Retry-After": "5"}),
    ),
    "F5": Scenario(
        "A project can make 300 calls a minute to a model; the next is refused with 429, which says when to retry.",
        quotas={"requests_per_minute": 300},
    ),
    "F5b": Scenario(
        "The prompts of a project's calls to a model can have 100,000 tokens a minute.",
        quotas={"tokens_per_minute": 100_000},
    ),
    "F5c": Scenario(
        "A project can make 1,000 calls a day to a model; then it has to wait for hours.",
        quotas={"requests_per_day": 1000},
    ),
    "F6": one(
        "A call with the tier flex is served as standard, at full price; only the header says so.",
        TierFault(served="standard", tier="flex"),
    ),
    "F6b": one(
        "An answer does not say which tier served it.",
        _flex(without_headers=["x-gemini-service-tier"]),
    ),
    "F7a": one("A call is answered and paid, then the connection is reset.", _flex(commit=True, drop="reset")),
    "F7b": one("The connection is reset before a call is answered; nothing is paid.", _flex(drop="reset")),
    "F7c": one("A call is paid, and its answer is cut after 40 bytes.", _flex(cut=40)),
    "F8": one(
        "Answers take 2 to 20 seconds, by the emulator's clock.",
        _flex(times=0, delay=2.0, delay_most=20.0),
    ),
    "F9": one("The first byte of an answer comes after 14 minutes, by the emulator's clock.", _flex(delay=840.0)),
    "F9b": one(
        "Callers that wait for less than 14 minutes (X-Server-Timeout; 60 s without it) pay, and get 504.",
        _flex(error="deadline", commit=True, times=0, patience_below=840),
    ),
    "F10": one("Models do not support the tier flex.", _flex(error="no_flex", times=0)),
}
