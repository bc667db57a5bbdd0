"""What the work on batches works with: the data folder, the clock, the responder, the faults."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from gemini_batch.emulator.faults.armed import Faults
from gemini_batch.emulator.state.caches import Caches
from gemini_batch.emulator.state.quotas import Limits

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable
    from pathlib import Path

    from gemini_batch.emulator.engine.prefetch import Prefetch
    from gemini_batch.emulator.responders.builtin import Responder
    from gemini_batch.emulator.state.clock import Clock
    from gemini_batch.emulator.state.files import Files
    from gemini_batch.emulator.state.store import Store


class Parts:
    """The parts of one engine, which its work shares."""

    def __init__(self, store: Store, clock: Clock, files: Files, responder: Responder) -> None:
        self.store = store
        self.clock = clock
        self.files = files
        self.responder = responder
        self.faults = Faults()
        #: Whether only what the service certainly refuses is refused.
        self.lenient = False
        self.limits = Limits(store, clock)
        self.caches = Caches(store, clock, rehearsal=files.rehearsal)
        self.monotonic: Callable[[], float] = time.monotonic  # for the budget of `advance`, not the emulator's time
        #: Set to end every :meth:`advance` at its next row, with a checkpoint.
        self.stop = threading.Event()
        #: By batch: requests that a concurrent responder has, and whose answers are not written yet.
        self.prefetched: dict[str, Prefetch] = {}
        #: By shape of batch: writes an output, which is complete, to where the batch says, before it has ended. It may
        #: be called again after a crash. Raises `ApiFailure` if that place does not exist.
        self.exports: dict[str, Callable[[sqlite3.Row, Path], None]] = {}
