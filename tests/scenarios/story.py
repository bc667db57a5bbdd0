"""The story that every scenario plays in: create, status --wait, results; then the same once more, undisturbed.

A :class:`Case` says what is armed and what is different from a good day. What is checked in every story, whatever
happens in it: no traceback and nothing "unexpected"; each key is paid for once at most; the user's files are as they
were; results are complete or absent, in the order of the input, each answer under its own key; and the same commands
again finish what was begun, paying for nothing twice.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from cli.conftest import request

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cli.conftest import Done
    from scenarios.conftest import Stage

KEYS = ("a", "b", "c", "d")
SUCCEEDED = "JOB_STATE_SUCCEEDED"
EXPIRED, FAILED, CANCELLED = "JOB_STATE_EXPIRED", "JOB_STATE_FAILED", "JOB_STATE_CANCELLED"


def asking(key: str, **more: Any) -> dict[str, Any]:
    """A request whose answer shows whose it is."""
    return {"key": key, "request": {"contents": [{"parts": [{"text": f"Say {key}"}]}], **more}}


def embedding(key: str) -> dict[str, Any]:
    """A request for a vector."""
    return {"key": key, "request": {"content": {"parts": [{"text": f"Say {key}"}]}, "outputDimensionality": 8}}


@dataclass(frozen=True, kw_only=True)
class Step:
    """How one command ends, and what it says on stderr."""

    code: int = 0
    out: str | None = None
    says: tuple[str, ...] = ()

    def check(self, done: Done) -> None:
        """Everything that was said and nothing else on stdout."""
        assert done.code == self.code, done
        for phrase in self.says:
            assert phrase in done.err, f"{phrase!r} is not said in:\n{done.err}"
        if self.out is not None:
            assert done.out == self.out, done
        if done.code not in {0, 1, 5}:
            assert done.out == "", "an error is no answer"
            assert len(done.err.strip()) > 0


@dataclass(frozen=True, kw_only=True)
class Case:
    """One scenario. The defaults are a good day.

    ``faults``: scenarios of the emulator by name, or faults made of fields. ``verdicts``: by key, what is not a
    success, as ``"verdict REASON"``. ``stage`` None: the ledger knows no job. ``jobs``: how many the service was asked
    for in the end. ``extra``: bytes uploaded beyond the file itself; None is not checked. ``again``: what the same
    create does afterwards, when nothing is armed: ``attach``, or make the job that was not made (``make``), or make
    one more since the first left nothing (``another``). ``idle``: how many of the faults are not met.
    """

    scenario: str
    title: str
    faults: tuple[str | Mapping[str, Any], ...] = ()
    pace: Mapping[str, float] = field(default_factory=dict)
    lines: tuple[object, ...] = tuple(asking(key) for key in KEYS)
    options: tuple[str, ...] = ()
    create: Step = Step()
    status: Step | None = Step(out=f"{SUCCEEDED}\n")
    results: Step | None = Step()
    verdicts: Mapping[str, str] = field(default_factory=dict)
    stage: str | None = "collected"
    state: str | None = SUCCEEDED
    jobs: int = 1
    extra: int | None = 0
    own_text: bool = True
    again: str = "attach"
    idle: int = 0

    def __str__(self) -> str:
        return f"{self.scenario}-{self.title.replace(' ', '-')}"

    @property
    def keys(self) -> list[str]:
        """The keys that were sent, in their order."""
        return [line["key"] for line in self.lines if isinstance(line, dict)]


def play(case: Case, stage: Stage) -> None:
    """Play a case to its end, and check what must hold in every one."""
    source = stage.shell.write("requests.jsonl", *case.lines)
    before = source.read_bytes()
    stage.service.pace(**case.pace)
    for fault in case.faults:
        stage.arm(fault) if isinstance(fault, str) else stage.arm(**fault)

    job = _create(case, stage)
    if job is not None:
        _follow(case, stage, job)
    else:
        assert not (stage.shell.folder / "results.jsonl").exists()
    _check_ledger(case, stage)
    assert stage.made() == case.jobs, "jobs at the service"
    assert max(stage.paid().values(), default=0) <= 1, "nothing is paid twice"
    if case.extra is not None and "--inline" not in case.options and (case.jobs or job):
        assert stage.sent() == len(before) + case.extra, "bytes uploaded"

    idle = [fault for fault in stage.service.faults.armed() if not fault["played"]]
    assert len(idle) == case.idle, f"did the scenario happen? {idle}"
    stage.service.faults.clear()
    _again(case, stage, job)
    assert source.read_bytes() == before, "the user's file is as it was"
    assert {path.name for path in stage.shell.folder.iterdir()} <= {"requests.jsonl", "results.jsonl"}
    assert not list((stage.shell.home / "runs").glob(".new-*"))
    diagnosis = stage.run("doctor")
    assert diagnosis.code == 0, diagnosis


def _create(case: Case, stage: Stage) -> str | None:
    made = stage.run("create", "requests.jsonl", *case.options)
    case.create.check(made)
    if made.code != 0:
        return None
    assert made.out.startswith("batches/")
    assert made.out.count("\n") == 1
    return made.out.strip()


def _follow(case: Case, stage: Stage, job: str) -> None:
    if case.status is not None:
        case.status.check(stage.run("status", job, "--wait"))
    if case.results is None:
        return
    fetched = stage.run("results", job, "-o", "results.jsonl")
    case.results.check(fetched)
    if case.stage == "collected":
        check_results(case, stage)
    else:
        assert not (stage.shell.folder / "results.jsonl").exists(), "complete or absent"


def check_results(case: Case, stage: Stage) -> None:
    """The results file has every key once, in the order of the input, with its own answer or the reason for none."""
    lines = stage.read()
    assert [line["key"] for line in lines] == case.keys
    for line in lines:
        verdict, _, reason = case.verdicts.get(line["key"], "succeeded").partition(" ")
        assert line["verdict"] == verdict, line
        assert ("error" in line) == (verdict != "succeeded")
        if verdict != "succeeded":
            assert line["error"]["reason"] == reason, line
            assert line["error"]["message"]
        elif case.own_text:
            assert f"Say {line['key']}”" in line["response"]["text"], line


def _check_ledger(case: Case, stage: Stage) -> None:
    jobs = stage.jobs()
    if case.stage is None:
        assert jobs == []
        return
    (job,) = jobs
    assert (job.stage.value, job.state) == (case.stage, case.state)


def _again(case: Case, stage: Stage, job: str | None) -> None:
    """The same three commands once more, on a good day."""
    kept = stage.shell.folder / "results.jsonl"
    results, sent = kept.read_bytes() if kept.exists() else None, stage.sent()
    made = stage.run("create", "requests.jsonl", *case.options)
    assert made.code == 0, made
    if case.again == "attach":
        assert made.out.strip() == job
        assert "nothing was sent" in made.err
        assert stage.made() == case.jobs
        assert stage.sent() == sent
    else:
        assert "Created" in made.err
        assert made.out.strip() != job
        assert stage.made() == case.jobs + 1
        if case.stage == "uploaded":
            assert stage.sent() == sent, "what was uploaded is not sent twice"
    _finish(case, stage, made.out.strip(), results)


def _finish(case: Case, stage: Stage, job: str, results: bytes | None) -> None:
    kept = stage.shell.folder / "results.jsonl"
    stage.run("status", job, "--wait")
    fetched = stage.run("results", job, "-o", "results.jsonl")
    if case.again == "attach" and results is not None:
        assert kept.read_bytes() == results, "the same job has the same results"
    elif case.again != "attach":
        assert fetched.code == 0, fetched
        assert {line["verdict"] for line in stage.read()} == {"succeeded"}
        assert max(stage.paid().values()) == 1, "nothing is paid twice"


__all__ = [
    "CANCELLED",
    "EXPIRED",
    "FAILED",
    "KEYS",
    "SUCCEEDED",
    "Case",
    "Step",
    "asking",
    "check_results",
    "embedding",
    "play",
    "request",
]
