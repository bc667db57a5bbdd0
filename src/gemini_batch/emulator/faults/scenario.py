"""What a scenario is, and how tables of them are written."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from gemini_batch.emulator.faults.model import WireFault

if TYPE_CHECKING:
    from gemini_batch.emulator.faults.model import Fault


class Scenario(NamedTuple):
    """One thing that can happen, in a sentence, and what causes it."""

    about: str
    faults: tuple[Fault, ...] = ()
    quotas: dict[str, Any] = {}  # noqa: RUF012 - never changed


def wire(operation: str, **effect: Any) -> WireFault:
    """A fault of these calls."""
    return WireFault(operation=operation, **effect)


def one(about: str, *faults: Fault) -> Scenario:
    """A scenario of faults only."""
    return Scenario(about, faults)
