"""How long jobs take: which one has waited for longest, what is typical here, and when a job counts as stuck."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from gemini_batch import catalog
from gemini_batch.errors import Next
from gemini_batch.events import Notice
from gemini_batch.store.ledger.records import JobStage
from gemini_batch.transcript.sizes import span
from gemini_batch.vertex_place import is_vertex

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gemini_batch.store.ledger.ledger import Ledger
    from gemini_batch.store.ledger.records import Job


#: The service aims at a day. A job that takes so many times as long as others did, and so many seconds at least, is
#: worth a warning earlier.
_AIM, _TIMES, _LEAST = 86_400.0, 4.0, 7200.0


def typical(durations: Sequence[float]) -> float | None:
    """The median of how long jobs took, in seconds; None where none has ended."""
    if not durations:
        return None
    from statistics import median  # brings fractions and decimals along, and most calls have no need of it

    return median(durations)


def is_stuck(age: float, usual: float | None) -> bool:
    """Whether an active job takes much longer than jobs do, by the service's aim or by the ``usual`` duration here."""
    return age > _AIM or (usual is not None and age > max(_LEAST, _TIMES * usual))


class Oldest(NamedTuple):
    """The active job that has waited for longest; times in seconds, ``usual`` None where nothing is known.

    ``vertex``: it is at Vertex AI, where nothing is sent as a call.
    """

    job: Job
    vertex: bool
    age: float
    expires_in: float
    usual: float | None

    @property
    def is_stuck(self) -> bool:
        """Whether it takes much longer than jobs do."""
        return is_stuck(self.age, self.usual)

    def notice(self) -> Notice:
        """The same for a person."""
        usual = "" if self.usual is None else f"; jobs of its model usually take {span(self.usual)} here"
        return Notice(
            f"{self.job.batch} has been running for {span(self.age)}{usual}.",
            "warning",
            None if self.vertex else finishing(self.job.run, self.age, self.expires_in),
        )


def finishing(run: str, age: float, expires_in: float | None) -> Next:
    """How to finish a run with a job that is stuck. Times in seconds."""
    limit = "" if expires_in is None else f" in {span(max(0.0, expires_in))}"
    return Next(
        *("run", run, "--finish-via", "flex", "--after", f"{max(1, int(age // 3600))}h"),
        why="cancels it, keeps its answers, and sends the rest as calls, of which some may be paid for twice; it ends "
        f"on its own, at the latest{limit} when it expires",
    )


def oldest(ledger: Ledger, jobs: Sequence[Job], now: float) -> Oldest | None:
    """The oldest of the jobs that are alive, if any is."""
    alive = [(job.created_at, job) for job in jobs if job.stage is JobStage.CREATED and job.created_at is not None]
    if not alive:
        return None
    created, job = min(alive, key=lambda one: one[0])
    vertex = is_vertex(ledger.run_of(job).backend)
    limit = catalog.load().limits.of_job(vertex=vertex).expiry
    return Oldest(job, vertex, max(0.0, now - created), created + limit - now, typical(ledger.durations(job.model)))
