"""What the emulator's projects used: jobs made, rows worked on, rows that would have been paid for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gemini_batch.emulator.clock import rfc3339

if TYPE_CHECKING:
    from gemini_batch.emulator.store import Store

_COUNTS = ("rows", "processed", "paid", "failed", "promptTokens", "outputTokens")


def accounting(store: Store) -> dict[str, Any]:
    """Totals, the number of jobs that each project made, and every job in the order of creation, deleted ones too.

    ``processed`` rows were answered or refused; ``paid`` are those with an answer, blocked or cut ones included.
    """
    jobs = [
        {
            "name": f"batches/{row['id']}",
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
            "outputTokens": row["output_tokens"],
        }
        for row in store.rows("SELECT * FROM batches ORDER BY seq")
    ]
    projects: dict[str, int] = {}
    for job in jobs:
        projects[job["project"]] = projects.get(job["project"], 0) + 1
    totals = {"jobs": len(jobs)} | {name: sum(job[name] for job in jobs) for name in _COUNTS}
    return {"totals": totals, "projects": projects, "jobs": jobs}
