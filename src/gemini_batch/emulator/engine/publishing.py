"""Publishes the output of a batch that has ended: faults change it, and rows in OpenAI's shape get their own.

Rows of Vertex AI leave the order of the input; they get their shape where they are exported.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gemini_batch.emulator.engine import openai_rows
from gemini_batch.emulator.faults import outputs
from gemini_batch.emulator.faults.model import OutputFault
from gemini_batch.emulator.state import spent
from gemini_batch.emulator.state.clock import SECOND
from gemini_batch.emulator.state.entered import VERTEX

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

    from gemini_batch.emulator.state.store import Store


def publish(row: sqlite3.Row, store: Store, changes: Sequence[OutputFault]) -> None:
    """Move the complete partial output of a batch into its place.

    It is in its place at once and complete, or not at all: the partial output is removed last. What was paid for is
    recorded before anything is changed.
    """
    partial, output = store.partial(row["id"]), store.output(row["id"])
    place = partial
    exported = row["shape"] == VERTEX
    if exported and not any(one.output in ("shuffle", "reverse") for one in changes):
        # This platform never promised an order, and does not keep one.
        changes = [OutputFault(output="shuffle", seed=int(row["id"])), *changes]
    if changes:
        spent.note(store, row["id"], partial)
        place = output.with_name(f"{output.name}.changed")
        dropped = outputs.rewrite(changes, partial, place, lines=exported or bool(row["input_file"]))
        spent.note_dropped(store, row["id"], dropped)
    if row["shape"] == openai_rows.SHAPE:
        spent.note(store, row["id"], partial)
        before, place = place, output.with_name(f"{output.name}.openai")
        openai_rows.write(
            row["kind"], before, place, batch=row["id"], model=row["model"], created=row["created"] // SECOND
        )
        if before != partial:
            before.unlink()
    place.replace(output)
    partial.unlink(missing_ok=True)
