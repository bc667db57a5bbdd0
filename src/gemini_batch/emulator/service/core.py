"""The emulator as an object: one data folder, and the parts that store, process and serve it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gemini_batch.emulator.engine.deliveries import Deliveries
from gemini_batch.emulator.engine.engine import Engine
from gemini_batch.emulator.service.batches import Batches
from gemini_batch.emulator.service.cached_contents import CachedContents
from gemini_batch.emulator.service.inference import Inference
from gemini_batch.emulator.service.openai import OpenAI
from gemini_batch.emulator.service.uploads import Uploads
from gemini_batch.emulator.service.webhooks import Webhooks
from gemini_batch.emulator.state.clock import Clock
from gemini_batch.emulator.state.files import Files
from gemini_batch.emulator.state.store import Store
from gemini_batch.emulator.state.webhooks import Webhooks as KeptWebhooks
from gemini_batch.emulator.vertex.cloud import Cloud
from gemini_batch.emulator.vertex.jobs import Pace

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from gemini_batch.emulator.responders.builtin import Responder


class Emulator:
    """One data folder and everything that serves it, independent of HTTP.

    ``ranges``: whether downloads honour HTTP Range. ``rehearsal``: rows may refer to files and caches that only the
    service has.
    ``lenient``: whether only what the service certainly refuses is refused. ``bearer``: whether OAuth tokens serve as
    well as API keys. ``list_outputs``: whether the list of files shows output files, too.
    """

    def __init__(
        self,
        data: Path,
        responder: Responder,
        *,
        ranges: bool = True,
        rehearsal: bool = False,
        lenient: bool = False,
        bearer: bool = False,
        list_outputs: bool = False,
    ) -> None:
        self.store = Store(data)
        self.clock = Clock(self.store)
        self.files = Files(self.store, self.clock, rehearsal=rehearsal)
        self.files.list_outputs = list_outputs
        self.bearer = bearer
        self.engine = Engine(self.store, self.clock, self.files, responder)
        self.engine.lenient = lenient
        self.caches = self.engine.caches
        self.limits = self.engine.limits
        self.faults = self.engine.faults
        self.uploads = Uploads(self.store, self.clock, self.files, self.limits)
        self.batches = Batches(self.store, self.clock, self.files, self.engine)
        self.cloud = Cloud(self.engine, lambda: Pace(self.batches.queue_delay, self.batches.rows_per_second))
        self.inference = Inference(self.clock, self.engine)
        self.openai = OpenAI(self.clock, self.inference, self.batches)
        self.cached_contents = CachedContents(self.clock, self.engine)
        self.kept_webhooks = KeptWebhooks(self.store, self.clock)
        self.deliveries = Deliveries(self.store, self.clock, self.kept_webhooks, self.faults)
        self.webhooks = Webhooks(self.store, self.clock, self.kept_webhooks, self.deliveries.announce)
        self.ranges = ranges
        #: Called with the operation and the HTTP status of every answer before it is sent. Replace it to observe calls.
        self.on_answer: Callable[[str, int], None] = lambda _operation, _status: None

    def close(self) -> None:
        """Stop the work at a checkpoint and close the data folder."""
        self.engine.close()
        self.store.close()
