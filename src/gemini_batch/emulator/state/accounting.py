"""What the emulator's projects used: jobs created, rows processed, rows that would have been billed, bytes uploaded."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from gemini_batch.emulator.state import calls, spent
from gemini_batch.emulator.state.clock import rfc3339
from gemini_batch.emulator.state.entered import name_of

if TYPE_CHECKING:
    from gemini_batch.emulator.state.store import Store

_COUNTS = ("rows", "processed", "paid", "failed", "promptTokens", "cachedTokens", "outputTokens")


def accounting(store: Store, *, keys: bool = False) -> dict[str, Any]:
    """Totals, the number of jobs that each project created, and every job and upload in order, deleted ones too.

    ``totals`` are those of jobs; ``interactive`` has the requests outside jobs, by project, model and tier, and
    ``repeated`` says how many of those were paid for more than once.
    ``processed`` rows were answered or refused. ``paid`` rows have an answer, including blocked and truncated ones,
    even if it was never downloaded. With ``keys``: how often each request key was paid for, over all jobs. Of an
    upload's ``sentBytes``, which came over the wire, ``receivedBytes`` were kept.
    """
    rows = store.rows("SELECT * FROM batches ORDER BY seq")
    jobs = [
        {
            "name": name_of(row),
            "project": row["owner"],
            "model": row["model"],
            "displayName": row["display_name"],
            "inputFile": f"files/{row['input_file']}" if row["input_file"] else None,
            "state": row["state"],
            "deleted": bool(row["deleted"]),
            "createTime": rfc3339(row["created"]),
            "rows": row["total"],
            "processed": row["row"],
            "paid": row["succeeded"],
            "failed": row["failed"],
            "promptTokens": row["prompt_tokens"],
            "cachedTokens": row["cached_tokens"],
            "outputTokens": row["output_tokens"],
        }
        for row in rows
    ]
    projects: dict[str, int] = {}
    for job in jobs:
        projects[job["project"]] = projects.get(job["project"], 0) + 1
    uploads = [
        {
            "file": f"files/{row['file_id']}" if row["file_id"] else None,
            "displayName": row["display_name"],
            "state": row["state"],
            "receivedBytes": row["received"],
            "sentBytes": row["sent"],
        }
        for row in store.rows("SELECT * FROM uploads ORDER BY created, rowid")
    ]
    totals = {"jobs": len(jobs)} | {name: sum(job[name] for job in jobs) for name in _COUNTS}
    totals["sentBytes"] = sum(upload["sentBytes"] for upload in uploads)
    found = {
        "totals": totals,
        "projects": projects,
        "jobs": jobs,
        "interactive": calls.by_tier(store),
        "repeated": calls.repeated(store),
        "uploads": uploads,
    }
    if keys:
        paid: Counter[str] = Counter()
        for row in rows:
            spent.count(store, row, paid)
        found["keys"] = dict(sorted(paid.items()))
    return found
