"""What must be true, whatever the service did: of the answers, of what was paid, of the exit codes, of the disk."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from gemini_batch.api.trouble import exit_code
from gemini_batch.report.result_set import Results
from gemini_batch.store.ledger.ledger import Ledger

if TYPE_CHECKING:
    from pathlib import Path

    from crashes.hostile.lives import Play, Told
    from crashes.hostile.service import Job

#: Row errors that may pass, and codes of jobs that are sent again (docs/runs.md).
PASSING = {2, 4, 8, 10, 13, 14}
JOB_PASSING = {8, 13, 14}
GOOD = {"good", "twice"}


class Oracle:
    """Judges one play; ``windows`` counts the documented window of create, which alone may be paid for twice."""

    def __init__(self, play: Play) -> None:
        self.play, self.windows = play, 0

    # While it goes on ------------------------------------------------------------------------------------------------

    def command(self, told: Told) -> None:
        """One command: an honest exit code, and a complete file."""
        if told.error is not None:
            self._error(told)
        elif isinstance(told.found, Results):
            name = "results.jsonl" if told.command == "results" else "out.jsonl"
            rows = read(self.play.folder / name)
            code = self._code(rows)
            if told.found.summary.not_sent:
                code = code or 1
            assert told.found.summary.exit_code == code, "the exit code is not that of the file"
            self._rows(rows, every=told.command != "results")

    def _error(self, told: Told) -> None:
        error, service = told.error, self.play.service
        assert error is not None
        code = exit_code(error)
        gone = any(job.vanishes_at <= now(self.play) for job in service.jobs)
        absent = gone or "absent once" in self.play.scenario.weather.kinds
        ended = any(job.state(now(self.play)) not in {"PENDING", "RUNNING"} for job in service.jobs)
        many = any(len(people) > 1 for people in self.play.scenario.lives)
        permitted = {
            2: error.reason_code in {"job_not_found", "unknown_run", "create_ambiguous"}
            and (absent or told.command in {"status", "results"} or error.reason_code == "create_ambiguous"),
            3: error.reason_code == "locked" and many,
            4: not service.healthy,
            5: ended or gone,
            6: True,
        }
        assert permitted.get(code, False), f"exit code {code} of {told.command}: {error.reason_code}: {error}"

    @staticmethod
    def _code(rows: list[dict[str, Any]]) -> int:
        verdicts = {row["verdict"] for row in rows}
        return 0 if verdicts == {"succeeded"} else 5 if verdicts == {"missing"} else 1

    def _rows(self, rows: list[dict[str, Any]], *, every: bool) -> None:
        """One line a key, in order; a good answer is one that a job gave under that key."""
        keys, found = list(self.play.scenario.keys), [row["key"] for row in rows]
        assert found == ([key for key in keys if key in set(found)] if not every else keys)
        for row in rows:
            if row["verdict"] == "succeeded":
                key, job = row["response"]["text"].split(" by ")
                assert key == row["key"], "the answer of another key"
                (giver,) = [one for one in self.play.service.jobs if one.name == job]
                assert giver.rows.get(key) in GOOD
            else:
                assert row["error"]["reason"], row

    # At the end ------------------------------------------------------------------------------------------------------

    def end(self, found: Results) -> None:
        """After the good days: the best answer of each key, each paid for once, and the key nowhere."""
        rows = read(self.play.folder / "out.jsonl")
        self._rows(rows, every=True)
        assert found.summary.exit_code == self._code(rows)
        with Ledger(self.play.folder / "home" / "ledger.db") as ledger:
            known: dict[str | None, Any] = {job.batch: job for _, job in ledger.jobs() if job.batch}
        for row in rows:
            self._best(row, {name: job for name, job in known.items() if job.run == found.summary.run})
            self._paid(row["key"], known)
        self._secret()

    def _best(self, row: dict[str, Any], known: dict[str | None, Any]) -> None:
        mine = [job for job in self._jobs(row["key"]) if job.name in known]
        there = [job for job in mine if job.vanishes_at == float("inf") and not known[job.name].lost]
        verdicts = [self._verdict(job, row["key"]) for job in there]
        what = f"{row['key']} is {row['verdict']} ({row.get('error')}), and the jobs say {verdicts}"
        assert mine, f"{row['key']} was never sent"
        if "succeeded" in verdicts:
            assert row["verdict"] == "succeeded", what
        elif len(there) == len(mine):
            assert row["verdict"] in set(verdicts), what
        if all(known[job.name].lost for job in mine):
            for job in mine:
                assert job.vanishes_at < float("inf") or known[job.name].lost == "OUTPUT_INCOMPLETE", (
                    f"{job.name} counts as lost ({known[job.name].lost}), and it is there"
                )

    def _jobs(self, key: str) -> list[Job]:
        return [job for job in self.play.service.jobs if key in job.keys]

    @staticmethod
    def _verdict(job: Job, key: str) -> str:
        what = job.rows[key]
        if what in GOOD:
            return "succeeded"
        if what == "blocked":
            return "blocked"
        return "failed" if isinstance(what, int) else "missing"

    def _paid(self, key: str, known: dict[str | None, Any]) -> None:
        """Each further job of a key has a reason that docs/runs.md names, or the user's word."""
        mine, attempts = [], 0
        for job in self._jobs(key):
            if job.name in known:
                mine.append(job)
                continue
            # The window of create: nobody was told of it, and a list left it, or its twin, out.
            twins = [one for one in self.play.service.jobs if one.file_name == job.file_name]
            hidden = any(one.left_out or one.vanishes_at < float("inf") for one in twins)
            assert hidden, f"{job.name} was in every list, and nobody knows it: paid twice"
            self.windows += 1
        for job, following in zip(mine, [*mine[1:], None], strict=True):
            attempts += 1
            if following is None:
                return
            if any(job.made_at <= at <= following.made_at for at in self.play.consents):
                attempts = 0
                continue
            if following.name in known and known[following.name].run != known[job.name].run:
                # `create` makes a new run of requests whose jobs have all ended without an answer.
                earlier = [one for one in mine if one.name in known and known[one.name].run == known[job.name].run]
                assert not any(sum(one.counts()) for one in earlier), f"{key} is in a new run, {following.name}"
                attempts = 0
                continue
            assert following.made_at >= job.ends_at, f"{key} is in {following.name} while {job.name} is alive"
            most = self._most(job, key)
            assert attempts < most, f"{key} ({job.end}, {job.rows[key]}) is paid for again in {following.name}"

    @staticmethod
    def _most(job: Job, key: str) -> int:
        """In how many jobs a key may be that this one left as it did."""
        what = job.rows[key]
        if job.end == "EXPIRED" or (job.end == "FAILED" and job.code in JOB_PASSING):
            return 2 if what == "unanswered" else 0
        if job.end != "SUCCEEDED":
            return 0
        if isinstance(what, int):
            return 3 if what in PASSING else 0
        # Half a line does not say whose it is, so it is resent where the count leaves room for no line at all.
        return 2 if what == "none" or (what == "broken" and sum(job.counts()) < len(job.keys)) else 0

    def _secret(self) -> None:
        from crashes.hostile.lives import KEY

        for path in self.play.folder.rglob("*"):
            if path.is_file():
                assert KEY.encode() not in path.read_bytes(), f"the key stands in {path}"
        for text in self.play.said:
            assert KEY not in text, f"the key was shown: {text}"


def read(path: Path) -> list[dict[str, Any]]:
    """The result lines of a file, which is complete."""
    data = path.read_bytes()
    assert data.endswith(b"\n")
    return [msgspec.json.decode(line) for line in data.splitlines()]


def now(play: Play) -> float:
    """The time of the world."""
    return play.service.time
