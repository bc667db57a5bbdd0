"""Vertex AI and what belongs to it as one object: jobs, Cloud Storage, the stand-in for BigQuery."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gemini_batch.emulator.state.entered import VERTEX
from gemini_batch.emulator.vertex.bigquery import BigQuery
from gemini_batch.emulator.vertex.exporting import Exports
from gemini_batch.emulator.vertex.jobs import Jobs
from gemini_batch.emulator.vertex.loads import Loads
from gemini_batch.emulator.vertex.storage.api import Storage
from gemini_batch.emulator.vertex.storage.objects import Objects
from gemini_batch.emulator.vertex.tables import Tables

if TYPE_CHECKING:
    from collections.abc import Callable

    from gemini_batch.emulator.engine.engine import Engine
    from gemini_batch.emulator.vertex.jobs import Pace


class Cloud:
    """One emulator's. ``pace``: how new jobs wait and run."""

    def __init__(self, engine: Engine, pace: Callable[[], Pace]) -> None:
        self.objects = Objects(engine.store, engine.clock)
        self.storage = Storage(self.objects)
        self.tables = Tables(engine.store, engine.clock)
        self.bigquery = BigQuery(self.tables)
        self.loads = Loads(self.tables)
        self.jobs = Jobs(engine, self.objects, self.tables, pace)
        engine.exports[VERTEX] = Exports(engine, self.objects, self.tables)
