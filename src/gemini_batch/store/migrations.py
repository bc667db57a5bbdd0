"""The schemas of both databases, as numbered steps. A released step is never edited; another one follows it.

Each function is one step. The steps that a database lacks run in one transaction, with the record that they have run.
State folders hold paid jobs, so tests continue with a folder that 1.0.0 created.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gemini_batch.store.records import identity

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable


def _each(db: sqlite3.Connection, statements: tuple[str, ...]) -> None:
    for statement in statements:
        db.execute(statement)


# The ledger ----------------------------------------------------------------------------------------------------------

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
    _each(db, _LEDGER_1)


def _ledger_2(db: sqlite3.Connection) -> None:
    """Name columns and stored overrides as the documentation does; let runs be forgotten."""
    _each(
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
    _each(
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
    _each(
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
    _each(
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
    _each(
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
    _each(
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


LEDGER: tuple[Callable[[sqlite3.Connection], None], ...] = (
    _ledger_1, _ledger_2, _ledger_3, _ledger_4, _ledger_5, _ledger_6, _ledger_7,
)  # fmt: skip


# A run's rows --------------------------------------------------------------------------------------------------------

_ROWS_1 = (
    """
CREATE TABLE requests (
    seq INTEGER PRIMARY KEY, line INTEGER NOT NULL, key TEXT NOT NULL, hash INTEGER NOT NULL,
    offset INTEGER NOT NULL, length INTEGER NOT NULL, expects_json INTEGER NOT NULL, dimension INTEGER,
    tokens INTEGER NOT NULL DEFAULT 0, job INTEGER, attempts INTEGER NOT NULL DEFAULT 0,
    granted INTEGER NOT NULL DEFAULT 0, answer INTEGER
) STRICT
""",
    """
CREATE INDEX requests_waiting ON requests (seq) WHERE job IS NULL
""",
    """
CREATE TABLE sources (
    id INTEGER PRIMARY KEY, job TEXT NOT NULL UNIQUE, file TEXT NOT NULL, bytes INTEGER NOT NULL,
    sha256 TEXT NOT NULL, lines INTEGER NOT NULL, missing_reason TEXT NOT NULL
) STRICT
""",
    """
CREATE TABLE answers (
    id INTEGER PRIMARY KEY, seq INTEGER NOT NULL REFERENCES requests (seq), source INTEGER NOT NULL,
    attempt INTEGER NOT NULL, offset INTEGER NOT NULL, length INTEGER NOT NULL,
    verdict TEXT NOT NULL, reason TEXT, usage_known INTEGER NOT NULL, input INTEGER NOT NULL, cached INTEGER NOT NULL,
    output INTEGER NOT NULL, thoughts INTEGER NOT NULL, tool_use INTEGER NOT NULL, audio_input INTEGER NOT NULL,
    image_output INTEGER NOT NULL
) STRICT
""",
    """
CREATE TABLE quarantine (
    source INTEGER NOT NULL, offset INTEGER NOT NULL, length INTEGER NOT NULL, reason TEXT NOT NULL
) STRICT
""",
    """
CREATE VIEW results AS
    SELECT requests.seq, requests.key, coalesce(answers.verdict, 'missing') AS verdict, answers.reason,
           answers.attempt, answers.input, answers.cached, answers.output, answers.thoughts
    FROM requests LEFT JOIN answers ON answers.id = requests.answer ORDER BY requests.seq
""",
)


def _rows_1(db: sqlite3.Connection) -> None:
    """The schema of 1.0.0."""
    _each(db, _ROWS_1)


def _rows_2(db: sqlite3.Connection) -> None:
    """Name tables and columns as the documentation does."""
    _each(
        db,
        (
            "ALTER TABLE requests RENAME COLUMN granted TO attempts_excused",
            "ALTER TABLE sources RENAME TO answer_files",
            "ALTER TABLE answers RENAME COLUMN source TO answer_file",
            "ALTER TABLE quarantine RENAME COLUMN source TO answer_file",
        ),
    )


def _rows_3(db: sqlite3.Connection) -> None:
    """Keep the service's messages; answers that were judged before have none."""
    _each(
        db,
        (
            "CREATE TABLE messages (id INTEGER PRIMARY KEY, reason TEXT NOT NULL, text TEXT NOT NULL) STRICT",
            "ALTER TABLE answers ADD COLUMN message INTEGER",
            "DROP VIEW results",
            """
CREATE VIEW results AS
    SELECT requests.seq, requests.key, coalesce(answers.verdict, 'missing') AS verdict, answers.reason,
           messages.text AS message,
           answers.attempt, answers.input, answers.cached, answers.output, answers.thoughts
    FROM requests LEFT JOIN answers ON answers.id = requests.answer
    LEFT JOIN messages ON messages.id = answers.message ORDER BY requests.seq
""",
        ),
    )


def _rows_4(db: sqlite3.Connection) -> None:
    """Keep which model each answer says it comes from; that of earlier answers stays unknown."""
    _each(
        db,
        (
            "CREATE TABLE model_versions (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE) STRICT",
            "ALTER TABLE answers ADD COLUMN model_version INTEGER REFERENCES model_versions (id)",
        ),
    )


def _rows_5(db: sqlite3.Connection) -> None:
    """Recognise each request, and its body, in other runs; those of earlier versions are read when that is needed."""
    _each(
        db,
        (
            "ALTER TABLE requests ADD COLUMN fingerprint BLOB",
            "ALTER TABLE requests ADD COLUMN body INTEGER",
            "ALTER TABLE requests ADD COLUMN outside INTEGER NOT NULL DEFAULT 0",
            "ALTER TABLE requests ADD COLUMN copy_of INTEGER",
        ),
    )


def _rows_6(db: sqlite3.Connection) -> None:
    """Keep the JSON Schema that each answer is to satisfy; answers to earlier requests are judged without it."""
    _each(
        db,
        (
            "CREATE TABLE schemas (id INTEGER PRIMARY KEY, hash BLOB NOT NULL UNIQUE, json BLOB NOT NULL) STRICT",
            "ALTER TABLE requests ADD COLUMN schema INTEGER REFERENCES schemas (id)",
        ),
    )


def _rows_7(db: sqlite3.Connection) -> None:
    """Count tokens by every kind that has a price, and searches; those of earlier answers stay unknown (NULL)."""
    kinds = ("image_input", "video_input", "cached_audio", "audio_output")
    _each(
        db,
        (
            *(f"ALTER TABLE answers ADD COLUMN {kind} INTEGER NOT NULL DEFAULT 0" for kind in kinds),
            "ALTER TABLE answers ADD COLUMN searches INTEGER",
            "ALTER TABLE answers ADD COLUMN maps INTEGER",
        ),
    )


def _rows_8(db: sqlite3.Connection) -> None:
    """Keep the most tokens that each request can be charged for; earlier requests are read when that is needed."""
    _each(
        db,
        (
            "ALTER TABLE requests ADD COLUMN bound_kind INTEGER",
            "ALTER TABLE requests ADD COLUMN bound_prompt INTEGER",
            "ALTER TABLE requests ADD COLUMN bound_answer INTEGER",
        ),
    )


ROWS: tuple[Callable[[sqlite3.Connection], None], ...] = (
    _rows_1, _rows_2, _rows_3, _rows_4, _rows_5, _rows_6, _rows_7, _rows_8,
)  # fmt: skip
