"""The schemas of the ledger, as numbered steps. A released step is never edited; another one follows it.

Each function is one step. The steps that a database lacks run in one transaction, with the record that they have run.
State folders hold paid jobs, so tests continue with a folder that 1.0.0 created.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gemini_batch.store.ledger.records import identity
from gemini_batch.store.sqlite import run_all

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable


_LEDGER_1 = (
    """
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT
""",
    """
CREATE TABLE runs (
    id TEXT PRIMARY KEY, identity TEXT, origin TEXT NOT NULL CHECK (origin IN ('made', 'adopted')),
    created_at REAL NOT NULL, method TEXT NOT NULL, model TEXT NOT NULL, backend TEXT NOT NULL,
    key_print TEXT NOT NULL, requests INTEGER NOT NULL, bytes INTEGER NOT NULL, sha256 TEXT, source TEXT,
    options TEXT
) STRICT
""",
    """
CREATE INDEX runs_identity ON runs (identity)
""",
    """
CREATE TABLE jobs (
    id TEXT PRIMARY KEY, run TEXT NOT NULL REFERENCES runs (id), ordinal INTEGER NOT NULL, model TEXT NOT NULL,
    requests INTEGER NOT NULL, tokens INTEGER NOT NULL, part TEXT, offset INTEGER NOT NULL, bytes INTEGER NOT NULL,
    sha256 TEXT,
    how TEXT NOT NULL CHECK (how IN ('file', 'inline')), display_name TEXT NOT NULL,
    life TEXT NOT NULL CHECK (life IN ('planned', 'uploaded', 'intended', 'created', 'ended', 'collected')),
    upload_url TEXT, file TEXT, intended_at REAL, sends INTEGER NOT NULL DEFAULT 0,
    batch TEXT UNIQUE, created_at REAL, state TEXT, phase TEXT, total INTEGER, succeeded INTEGER, failed INTEGER,
    pending INTEGER, error_code INTEGER, error_message TEXT, output_file TEXT, seen_at REAL, ended_at REAL,
    cancelled_at REAL, collected_at REAL, dropped_at REAL, lost TEXT
) STRICT
""",
    """
CREATE INDEX jobs_run ON jobs (run)
""",
    """
CREATE TABLE files (
    name TEXT PRIMARY KEY, job TEXT NOT NULL REFERENCES jobs (id), bytes INTEGER NOT NULL, sha256 TEXT NOT NULL,
    uploaded_at REAL NOT NULL, expires_at REAL, deleted_at REAL
) STRICT
""",
    """
CREATE TABLE ceilings (
    key_print TEXT NOT NULL, model TEXT NOT NULL, refused INTEGER, accepted INTEGER, learned_at REAL NOT NULL,
    PRIMARY KEY (key_print, model)
) STRICT
""",
    """
CREATE TABLE events (
    id INTEGER PRIMARY KEY, at REAL NOT NULL, run TEXT, job TEXT, what TEXT NOT NULL, detail TEXT
) STRICT
""",
    """
CREATE VIEW job_overview AS
    SELECT jobs.id AS job, jobs.batch, jobs.display_name AS name, jobs.model, jobs.life, jobs.state,
           jobs.total, jobs.succeeded, jobs.failed, jobs.pending,
           datetime(jobs.created_at, 'unixepoch') AS created, datetime(jobs.ended_at, 'unixepoch') AS ended,
           datetime(jobs.collected_at, 'unixepoch') AS collected, runs.backend, runs.source
    FROM jobs JOIN runs ON runs.id = jobs.run ORDER BY jobs.created_at DESC
""",
    """
CREATE VIEW audit AS
    SELECT datetime(at, 'unixepoch') AS at, run, job, what, detail FROM events ORDER BY id
""",
)


def _ledger_1(db: sqlite3.Connection) -> None:
    """The schema of 1.0.0."""
    run_all(db, _LEDGER_1)


def _ledger_2(db: sqlite3.Connection) -> None:
    """Name columns and stored overrides as the documentation does; let runs be forgotten."""
    run_all(
        db,
        (
            "ALTER TABLE runs RENAME COLUMN key_print TO key_fingerprint",
            "ALTER TABLE jobs RENAME COLUMN life TO stage",
            "ALTER TABLE jobs RENAME COLUMN how TO input_kind",
            "ALTER TABLE jobs RENAME COLUMN sends TO create_calls",
            "ALTER TABLE runs ADD COLUMN forgotten_at REAL",
            """
UPDATE runs SET forgotten_at = (SELECT max(dropped_at) FROM jobs WHERE jobs.run = runs.id)
WHERE NOT EXISTS (SELECT 1 FROM jobs WHERE jobs.run = runs.id AND dropped_at IS NULL)
""",
            "ALTER TABLE ceilings RENAME TO quota_bounds",
            "ALTER TABLE quota_bounds RENAME COLUMN key_print TO key_fingerprint",
            """
UPDATE runs SET options = json_set(options, '$.overrides', json(json_extract(options, '$.change')))
WHERE json_type(options, '$.change') = 'object'
""",
            "UPDATE runs SET options = json_remove(options, '$.change') WHERE options IS NOT NULL",
        ),
    )


def _ledger_3(db: sqlite3.Connection) -> None:
    """Remember which output files were written; those of earlier versions are recognised by their lines."""
    run_all(
        db,
        (
            """
CREATE TABLE output_files (
    sha256 TEXT PRIMARY KEY, kind TEXT NOT NULL CHECK (kind IN ('results', 'failures')), path TEXT NOT NULL,
    run TEXT NOT NULL REFERENCES runs (id), succeeded INTEGER NOT NULL
) STRICT
""",
        ),
    )


def _ledger_4(db: sqlite3.Connection) -> None:
    """Take the API key out of the identity of runs, and note it for each job; claim rows, and lend answers.

    Of two runs that 1.0.0 made of the same requests with the same key, the later one was made with ``--new``.
    """
    run_all(
        db,
        (
            "ALTER TABLE jobs ADD COLUMN key_fingerprint TEXT NOT NULL DEFAULT ''",
            "UPDATE jobs SET key_fingerprint = (SELECT key_fingerprint FROM runs WHERE runs.id = jobs.run)",
            "ALTER TABLE runs ADD COLUMN anew INTEGER NOT NULL DEFAULT 0",
            """
UPDATE runs SET anew = 1 WHERE identity IS NOT NULL
AND EXISTS (SELECT 1 FROM runs earlier WHERE earlier.identity = runs.identity AND earlier.rowid < runs.rowid)
""",
            "ALTER TABLE runs ADD COLUMN freed_at REAL",
            "ALTER TABLE runs DROP COLUMN key_fingerprint",
            """
CREATE TABLE claims (
    fingerprint BLOB NOT NULL, job TEXT NOT NULL REFERENCES jobs (id), PRIMARY KEY (fingerprint, job)
) STRICT, WITHOUT ROWID
""",
            "CREATE INDEX claims_job ON claims (job)",
            """
CREATE TABLE loans (
    borrower TEXT NOT NULL REFERENCES runs (id), lender TEXT NOT NULL REFERENCES runs (id),
    PRIMARY KEY (borrower, lender)
) STRICT, WITHOUT ROWID
""",
        ),
    )
    runs = db.execute("SELECT id, sha256, method, model, backend FROM runs WHERE identity IS NOT NULL").fetchall()
    for run, *parts in runs:
        db.execute("UPDATE runs SET identity = ? WHERE id = ?", (identity(*parts), run))


def _ledger_5(db: sqlite3.Connection) -> None:
    """Remember the attachments at the service, and which jobs use them."""
    run_all(
        db,
        (
            """
CREATE TABLE attachments (
    name TEXT PRIMARY KEY, sha256 TEXT NOT NULL, mime TEXT NOT NULL, bytes INTEGER NOT NULL, backend TEXT NOT NULL,
    key_fingerprint TEXT NOT NULL, run TEXT NOT NULL REFERENCES runs (id),
    state TEXT NOT NULL CHECK (state IN ('chosen', 'uploaded', 'active', 'failed')),
    upload_url TEXT, uri TEXT, uploaded_at REAL, expires_at REAL, deleted_at REAL
) STRICT
""",
            "CREATE INDEX attachments_content ON attachments (sha256)",
            """
CREATE TABLE job_attachments (
    job TEXT NOT NULL REFERENCES jobs (id), name TEXT NOT NULL REFERENCES attachments (name), PRIMARY KEY (job, name)
) STRICT, WITHOUT ROWID
""",
            "CREATE INDEX job_attachments_name ON job_attachments (name)",
        ),
    )


def _ledger_6(db: sqlite3.Connection) -> None:
    """Keep what each job may cost and has cost, in nano-USD, and the shape of each run; earlier ones have none."""
    run_all(
        db,
        (
            "ALTER TABLE jobs ADD COLUMN bound INTEGER",
            "ALTER TABLE jobs ADD COLUMN unbounded INTEGER",
            "ALTER TABLE jobs ADD COLUMN settled INTEGER",
            "ALTER TABLE jobs ADD COLUMN answer_limit INTEGER",
            "ALTER TABLE runs ADD COLUMN shape TEXT",
            "CREATE INDEX runs_shape ON runs (shape)",
        ),
    )


def _ledger_7(db: sqlite3.Connection) -> None:
    """Keep what was expected before each sending, and what requests without an answer may have cost, in nano-USD."""
    run_all(
        db,
        (
            "ALTER TABLE jobs ADD COLUMN possible INTEGER",
            """
CREATE TABLE estimates (
    run TEXT NOT NULL REFERENCES runs (id), after INTEGER NOT NULL, at REAL NOT NULL,
    low INTEGER, expected INTEGER, high INTEGER, PRIMARY KEY (run, after)
) STRICT, WITHOUT ROWID
""",
        ),
    )


def _ledger_8(db: sqlite3.Connection) -> None:
    """Keep how the requests of a job are sent, and which calls may have been paid for without an answer."""
    run_all(
        db,
        (
            "ALTER TABLE jobs ADD COLUMN via TEXT NOT NULL DEFAULT 'batch' CHECK (via IN ('batch', 'flex'))",
            "ALTER TABLE jobs ADD COLUMN standard INTEGER NOT NULL DEFAULT 0",
            "ALTER TABLE jobs ADD COLUMN finishing INTEGER NOT NULL DEFAULT 0",
            "ALTER TABLE jobs ADD COLUMN doubtful INTEGER NOT NULL DEFAULT 0",
            "ALTER TABLE jobs ADD COLUMN doubtful_bound INTEGER",
            """
CREATE TABLE rates (
    key_fingerprint TEXT NOT NULL, model TEXT NOT NULL, calls REAL, tokens REAL, learned_at REAL NOT NULL,
    PRIMARY KEY (key_fingerprint, model)
) STRICT
""",
        ),
    )


def _ledger_9(db: sqlite3.Connection) -> None:
    """Keep the claims of a job in a few large values: they are written, compared and deleted together."""
    columns = "job TEXT NOT NULL REFERENCES jobs (id), part INTEGER NOT NULL, fingerprints BLOB NOT NULL"
    db.execute(f"CREATE TABLE claims_of_jobs ({columns}, PRIMARY KEY (job, part)) STRICT")
    for (job,) in db.execute("SELECT DISTINCT job FROM claims").fetchall():
        claimed = db.execute("SELECT fingerprint FROM claims WHERE job = ? ORDER BY fingerprint", (job,))
        part = 0
        while batch := claimed.fetchmany(65_536):
            db.execute("INSERT INTO claims_of_jobs VALUES (?, ?, ?)", (job, part, b"".join(row[0] for row in batch)))
            part += 1
    run_all(db, ("DROP TABLE claims", "ALTER TABLE claims_of_jobs RENAME TO claims"))


def _ledger_10(db: sqlite3.Connection) -> None:
    """Keep which runs have their requests in the user's file, and which manifest of shards named a run last."""
    run_all(
        db,
        (
            "ALTER TABLE runs ADD COLUMN shards TEXT",
            "ALTER TABLE runs ADD COLUMN in_place INTEGER NOT NULL DEFAULT 0",
            "CREATE INDEX runs_shards ON runs (shards) WHERE shards IS NOT NULL",
            "CREATE INDEX output_files_run ON output_files (run)",
        ),
    )


LEDGER: tuple[Callable[[sqlite3.Connection], None], ...] = (
    _ledger_1, _ledger_2, _ledger_3, _ledger_4, _ledger_5, _ledger_6, _ledger_7, _ledger_8, _ledger_9,
    _ledger_10,
)  # fmt: skip
