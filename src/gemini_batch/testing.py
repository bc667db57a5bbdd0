"""For your own tests: a local Gemini API as a pytest fixture. Installed with the package, nothing to import.

Write your code as always, and give it the fixture's URL and any key::

    def test_nightly_batch(gemini_emulator):
        client = genai.Client(api_key="test", http_options={"base_url": gemini_emulator.url})
        job = client.batches.create(model="gemini-3.8-flash", src=[{"contents": "Say hello."}])
        while not (job := client.batches.get(name=job.name)).done:
            gemini_emulator.advance(3600)                       # an hour passes at once
        assert job.dest.inlined_responses[0].response.text
        assert gemini_emulator.accounting()["totals"]["paid"] == 1

Every test has an emulator with data of its own. Answers are deterministic and say ``@offline`` in ``modelVersion``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from gemini_batch.emulator.service.core import Emulator

__all__ = ["FaultControl", "GeminiEmulator", "gemini_emulator"]


@dataclass(frozen=True, slots=True)
class FaultControl:
    """The faults of one emulator. What a fault can be is said in the project's page on the emulator."""

    _world: Emulator

    def arm(self, scenario: str = "", /, **fields: Any) -> list[int]:
        """Arm a scenario by its name, with some fields of its faults changed; or one fault made of fields.

        ::

            gemini_emulator.faults.arm("C8a")                                     # created, then the connection breaks
            gemini_emulator.faults.arm("G13", key="row-3", code=8, times=0)       # this row always fails
            gemini_emulator.faults.arm(operation="batches.get", status=503)       # the next look, once

        Returns the ids of the faults. Raises ``ValueError`` for an unknown scenario, field or value.
        """
        from gemini_batch.emulator.http.admin import arm

        return arm(self._world, scenario=scenario, **fields)

    def clear(self, number: int | None = None) -> None:
        """Take back one fault, by its id; or all of them, and the quotas that scenarios changed."""
        from gemini_batch.emulator.http.admin import clear

        if number is None:
            clear(self._world)
        else:
            self._world.faults.clear(number)

    def armed(self) -> list[dict[str, Any]]:
        """All faults with how often each was ``seen`` (matched) and ``played``."""
        return self._world.faults.shown()


@dataclass(frozen=True, slots=True)
class GeminiEmulator:
    """A running emulator. ``url`` is the base URL to give to a client, ``data`` the folder where everything is kept."""

    url: str
    data: Path
    _world: Emulator

    def advance(self, seconds: float) -> None:
        """Move the service's clock forward. Raises ``ValueError`` for a step back."""
        self._world.clock.advance(seconds)

    def pace(self, *, queue_delay: float = 0.0, rows_per_second: float | None = None) -> None:
        """For batches created from now on: seconds before they start, and how fast they are; None is at once."""
        self._world.batches.queue_delay = queue_delay
        self._world.batches.rows_per_second = rows_per_second

    def limit(self, **quotas: Any) -> None:
        """Change quotas: ``tier=1`` (enqueued tokens), ``jobs=2``, ``when_full="wait"``, ``storage``, ``file``, …

        Raises ``ValueError`` for unknown names and wrong values.
        """
        self._world.limits.change(**quotas)

    @property
    def faults(self) -> FaultControl:
        """What goes wrong: ``.arm("C8a")``, ``.arm(operation="batches.get", status=503)``, ``.clear()``."""
        return FaultControl(self._world)

    def accounting(self) -> dict[str, Any]:
        """What was used: ``totals``, how many jobs each of ``projects`` made, ``jobs`` and ``uploads``, deleted ones
        too, and ``keys``: how often each request key was paid for.
        """
        from gemini_batch.emulator.state.accounting import accounting

        return accounting(self._world.store, keys=True)


@pytest.fixture
def gemini_emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GeminiEmulator]:
    """A local Gemini API for one test: ``.url``, ``.advance(…)``, ``.pace(…)``, ``.faults``, ``.accounting()``."""
    from gemini_batch.emulator.http.server import serve

    data = tmp_path_factory.mktemp("gemini-emulator")
    with serve(data) as running:
        yield GeminiEmulator(running.url, data, running.emulator)
