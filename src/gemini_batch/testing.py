"""A local Gemini API as a pytest fixture for your own tests. It comes with the package; nothing has to be imported.

Give your code the fixture's URL and any key::

    def test_nightly_batch(gemini_emulator):
        client = genai.Client(api_key="test", http_options={"base_url": gemini_emulator.url})
        job = client.batches.create(model="gemini-3.8-flash", src=[{"contents": "Say hello."}])
        while not (job := client.batches.get(name=job.name)).done:
            gemini_emulator.advance(3600)                       # one hour passes instantly
        assert job.dest.inlined_responses[0].response.text
        assert gemini_emulator.accounting()["totals"]["paid"] == 1

Every test has its own emulator with its own data. Answers are deterministic; their ``modelVersion`` ends in
``@offline``.
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
    """The faults of one emulator. ``docs/faults.md`` lists scenarios and fields."""

    _world: Emulator

    def arm(self, scenario: str = "", /, **fields: Any) -> list[int]:
        """Arm a scenario by name, with some fields of its faults changed; or one fault, given its fields.

        ::

            gemini_emulator.faults.arm("C8a")                                     # created, then the connection breaks
            gemini_emulator.faults.arm("G13", key="row-3", code=8, times=0)       # this row always fails
            gemini_emulator.faults.arm(operation="batches.get", status=503)       # the next poll, once

        Returns the ids of the faults. Raises ``ValueError`` for an unknown scenario, an unknown field, a field of
        another kind of fault, or a wrong value.
        """
        from gemini_batch.emulator.http.admin import arm

        return arm(self._world, scenario=scenario, **fields)

    def clear(self, number: int | None = None) -> None:
        """Disarm one fault, by its id; or all faults, and restore the quotas that scenarios changed."""
        from gemini_batch.emulator.http.admin import clear

        if number is None:
            clear(self._world)
        else:
            self._world.faults.clear(number)

    def armed(self) -> list[dict[str, Any]]:
        """All armed faults, with how often each was ``seen`` (matched) and ``played``."""
        return self._world.faults.shown()


@dataclass(frozen=True, slots=True)
class GeminiEmulator:
    """A running emulator. ``url`` is the base URL for a client, ``data`` the folder with all its data."""

    url: str
    data: Path
    _world: Emulator

    def advance(self, seconds: float) -> None:
        """Move the emulator's clock forward by ``seconds``. Raises ``ValueError`` for negative seconds."""
        self._world.clock.advance(seconds)

    def pace(self, *, queue_delay: float = 0.0, rows_per_second: float | None = None) -> None:
        """For batches created from now on: seconds before they start, and rows per second (None: no limit)."""
        self._world.batches.queue_delay = queue_delay
        self._world.batches.rows_per_second = rows_per_second

    def refuse(self, *, lenient: bool) -> None:
        """Choose what is refused, from now on: at first, everything outside the documented fields, values and ranges.

        ``lenient``: only what the service certainly refuses, as ``gemini-batch emulator --lenient`` does.
        """
        self._world.engine.lenient = lenient

    def switch(self, *, bearer: bool | None = None, list_outputs: bool | None = None) -> None:
        """Turn on or off, from now on, what is off at first; None leaves it as it is.

        ``bearer``: OAuth tokens serve as well as API keys. ``list_outputs``: the list of files shows output files, too.
        """
        if bearer is not None:
            self._world.bearer = bearer
        if list_outputs is not None:
            self._world.files.list_outputs = list_outputs

    def limit(self, **quotas: Any) -> None:
        """Change quotas: ``tier=1`` (enqueued tokens), ``jobs=2``, ``when_full="wait"``, ``requests_per_minute=300``, …

        Raises ``ValueError`` for unknown names and wrong values.
        """
        self._world.limits.change(**quotas)

    def add_bucket(self, name: str) -> None:
        """Create a bucket of Cloud Storage, for batch jobs of Vertex AI, unless it exists."""
        self._world.cloud.objects.ensure_bucket(name)

    @property
    def faults(self) -> FaultControl:
        """Its faults: ``.arm("C8a")``, ``.arm(operation="batches.get", status=503)``, ``.clear()``."""
        return FaultControl(self._world)

    def accounting(self) -> dict[str, Any]:
        """What was used: ``totals``; the number of jobs of each of ``projects``; all ``jobs`` and ``uploads``, deleted
        ones too; ``interactive``, the requests outside jobs by model and tier, and ``repeated``, how many of them were
        paid for more than once; and ``keys``: how often each request key was paid for.
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
