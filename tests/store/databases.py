"""What a database holds, read without this program; and the copies that are next to it."""

from __future__ import annotations

import contextlib
import json
import re
import sqlite3
from typing import TYPE_CHECKING, Any

import pytest

from gemini_batch.store.ledger.migrations import LEDGER
from gemini_batch.store.rows.migrations import ROWS
from gemini_batch.store.sqlite import connect

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from gemini_batch.store.sqlite import Migration

#: What 1.0.0 calls the tables and columns that have another name now.
RENAMED = {
    "ceilings": "quota_bounds",
    "sources": "answer_files",
    "runs.key_print": "key_fingerprint",
    "jobs.life": "stage",
    "jobs.how": "input_kind",
    "jobs.sends": "create_calls",
    "quota_bounds.key_print": "key_fingerprint",
    "requests.granted": "attempts_excused",
    "answers.source": "answer_file",
    "quarantine.source": "answer_file",
}
#: Tables (without columns here) and columns that 1.0.0 does not have, or that say something else there.
ADDED: dict[str, tuple[str, ...]] = {
    "answers": (
        "message",
        "model_version",
        "image_input",
        "video_input",
        "cached_audio",
        "audio_output",
        "searches",
        "maps",
        "standard",
    ),
    "runs": ("forgotten_at", "anew", "freed_at", "identity", "key_fingerprint", "shape", "shards", "in_place"),
    "jobs": (
        *("key_fingerprint", "bound", "unbounded", "settled", "possible", "answer_limit"),
        *("via", "standard", "finishing", "doubtful", "doubtful_bound"),
    ),
    "requests": (
        *("fingerprint", "body", "outside", "copy_of", "schema"),
        *("bound_kind", "bound_prompt", "bound_answer"),
    ),
    **dict.fromkeys(
        (
            *("messages", "model_versions", "output_files", "claims", "loans", "schemas", "attachments"),
            *("job_attachments", "estimates", "rates"),
        ),
        (),
    ),
}
#: Indexes that every version makes when it needs them.
MADE_LATER = {"requests_hash", "answers_seq", "answers_file"}
BOTH = pytest.mark.parametrize("migrations", [LEDGER, ROWS], ids=["ledger", "rows"])


def schema(path: Path) -> list[tuple[str, str, str]]:
    """Tables, indexes and views, without quotation marks and line ends."""
    with contextlib.closing(sqlite3.connect(path)) as db:
        found = db.execute("SELECT type, name, coalesce(sql, '') FROM sqlite_master ORDER BY type, name").fetchall()
    return [(kind, name, re.sub(r"\s+", " ", sql.replace('"', "")).strip()) for kind, name, sql in found]


def content(path: Path) -> dict[str, list[dict[str, Any]]]:
    """The rows of all tables, by the current names of tables and columns; kept options as documents.

    Without what 1.0.0 does not have (:data:`ADDED`), and without the identity of runs, which held the key there.
    """
    found: dict[str, list[dict[str, Any]]] = {}
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.row_factory = sqlite3.Row
        for (table,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY 1").fetchall():
            name = RENAMED.get(table, table)
            found[name] = [
                {RENAMED.get(f"{name}.{column}", column): row[column] for column in row.keys()}  # noqa: SIM118 - a Row's
                for row in db.execute(f"SELECT * FROM {table}")
            ]
    for table, columns in ADDED.items():
        if not columns and not found.get(table):
            found.pop(table, None)
        for row in found.get(table, []):
            for column in columns:
                row.pop(column, None)
    for run in found.get("runs", []):
        run["options"] = as_current(run["options"])
    return found


def as_current(options: str | None) -> Any:
    """Kept options, with the name that overrides have now."""
    document = json.loads(options or "null")
    if document and (change := document.pop("change", None)) is not None:
        document["overrides"] = change
    if document and document.get("overrides") is None:
        document.pop("overrides", None)
    return document


def version(path: Path) -> int:
    with contextlib.closing(sqlite3.connect(path)) as db:
        return int(db.execute("PRAGMA user_version").fetchone()[0])


def opened(path: Path, migrations: Sequence[Migration], **named: Any) -> None:
    connect(path, migrations, what="ledger", **named).close()


def copies(folder: Path) -> list[str]:
    """Copies, whole or not, in a folder."""
    return sorted(path.name for path in folder.iterdir() if ".v" in path.name)
