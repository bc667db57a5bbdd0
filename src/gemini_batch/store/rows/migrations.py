"""The schemas of ``rows.db``, as numbered steps. A released step is never edited; another one follows it.

Each function is one step. The steps that a database lacks run in one transaction, with the record that they have run.
State folders hold paid jobs, so tests continue with a folder that 1.0.0 created.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gemini_batch.store.sqlite import run_all

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable


#: Made when the first answers are entered: many at once are indexed faster afterwards. The first one has both columns,
#: so that SQLite does not take the second for what asks for one request's answer from one file.
INDEXES_OF_ANSWERS = (
    "CREATE INDEX IF NOT EXISTS answers_seq ON answers (seq, answer_file)",
    "CREATE INDEX IF NOT EXISTS answers_file ON answers (answer_file)",
)
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
    run_all(db, _ROWS_1)


def _rows_2(db: sqlite3.Connection) -> None:
    """Name tables and columns as the documentation does."""
    run_all(
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
    run_all(
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
    run_all(
        db,
        (
            "CREATE TABLE model_versions (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE) STRICT",
            "ALTER TABLE answers ADD COLUMN model_version INTEGER REFERENCES model_versions (id)",
        ),
    )


def _rows_5(db: sqlite3.Connection) -> None:
    """Recognise each request, and its body, in other runs; those of earlier versions are read when that is needed."""
    run_all(
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
    run_all(
        db,
        (
            "CREATE TABLE schemas (id INTEGER PRIMARY KEY, hash BLOB NOT NULL UNIQUE, json BLOB NOT NULL) STRICT",
            "ALTER TABLE requests ADD COLUMN schema INTEGER REFERENCES schemas (id)",
        ),
    )


def _rows_7(db: sqlite3.Connection) -> None:
    """Count tokens by every kind that has a price, and searches; those of earlier answers stay unknown (NULL)."""
    kinds = ("image_input", "video_input", "cached_audio", "audio_output")
    run_all(
        db,
        (
            *(f"ALTER TABLE answers ADD COLUMN {kind} INTEGER NOT NULL DEFAULT 0" for kind in kinds),
            "ALTER TABLE answers ADD COLUMN searches INTEGER",
            "ALTER TABLE answers ADD COLUMN maps INTEGER",
        ),
    )


def _rows_8(db: sqlite3.Connection) -> None:
    """Keep the most tokens that each request can be charged for; earlier requests are read when that is needed."""
    run_all(
        db,
        (
            "ALTER TABLE requests ADD COLUMN bound_kind INTEGER",
            "ALTER TABLE requests ADD COLUMN bound_prompt INTEGER",
            "ALTER TABLE requests ADD COLUMN bound_answer INTEGER",
        ),
    )


def _rows_9(db: sqlite3.Connection) -> None:
    """Keep which answers were served, and are charged, at standard prices."""
    db.execute("ALTER TABLE answers ADD COLUMN standard INTEGER NOT NULL DEFAULT 0")


def _rows_10(db: sqlite3.Connection) -> None:
    """Find the requests and the answers of one job without reading those of all others.

    Three of the indexes hold exceptions only, and are empty in most runs: requests that an earlier version or another
    tool entered, and copies.
    """
    run_all(
        db,
        (
            "DROP INDEX requests_waiting",
            "CREATE INDEX requests_job ON requests (job)",
            "DROP INDEX IF EXISTS answers_seq",
            "CREATE INDEX requests_without_fingerprint ON requests (seq) WHERE fingerprint IS NULL",
            "CREATE INDEX requests_without_bound ON requests (seq) WHERE bound_kind IS NULL",
            "CREATE INDEX requests_copies ON requests (copy_of) WHERE copy_of IS NOT NULL",
        ),
    )
    if db.execute("SELECT EXISTS (SELECT 1 FROM answers)").fetchone()[0]:
        run_all(db, INDEXES_OF_ANSWERS)


ROWS: tuple[Callable[[sqlite3.Connection], None], ...] = (
    _rows_1, _rows_2, _rows_3, _rows_4, _rows_5, _rows_6, _rows_7, _rows_8, _rows_9, _rows_10,
)  # fmt: skip
