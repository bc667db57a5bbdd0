"""How a batch gets into the database, and what it is called: one way for both of Google's platforms."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping

    from gemini_batch.emulator.state.models import Kind

    Batch = sqlite3.Row | Mapping[str, Any]

#: The shape of a batch of Vertex AI, in the database. Its owner is ``projects/…/locations/…``.
VERTEX = "vertex"


@dataclass(frozen=True, slots=True, kw_only=True)
class NewBatch:
    """A batch whose input was checked. The names are those of the columns; times in nanoseconds.

    ``error_code``: that of a job which can only fail, because its input cannot be read; it fails when it starts.
    """

    id: str
    owner: str
    kind: Kind
    model: str
    display_name: str
    priority: int = 0
    input_file: str = ""
    input_blob: str
    plain: bool
    created: int
    due: int
    expires: int
    rows_per_second: float | None
    total: int
    tokens: int = 0
    webhook: str | None = None
    shape: str = ""
    vertex: str = "{}"
    error_code: int | None = None
    error_message: str | None = None


def enter(db: sqlite3.Connection, new: NewBatch) -> None:
    """Enter a batch, PENDING."""
    values = {**asdict(new), "state": "PENDING", "updated": new.created}
    names = ", ".join(values)
    db.execute(f"INSERT INTO batches ({names}) VALUES ({', '.join(f':{one}' for one in values)})", values)  # noqa: S608


def name_of(batch: Batch) -> str:
    """The resource name of a batch."""
    if batch["shape"] == VERTEX:
        return f"{batch['owner']}/batchPredictionJobs/{batch['id']}"
    return f"batches/{batch['id']}"
