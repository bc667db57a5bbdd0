"""What is asked of ``create`` or ``run``, and the run that a request file becomes: staged, advised on, recognisable."""

from __future__ import annotations

import datetime as dt
import hashlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from gemini_batch import catalog
from gemini_batch.backend import address_of
from gemini_batch.errors import Problem, UsageError
from gemini_batch.runs.events import Said, in_thread
from gemini_batch.runs.ledger import Run
from gemini_batch.runs.stage import Staged, stage

if TYPE_CHECKING:
    from pathlib import Path

    from gemini_batch.runs.home import RunFolder
    from gemini_batch.runs.session import Session


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What is asked of ``create``. ``model`` None: the default for the kind of requests found."""

    source: Path
    model: str | None = None
    name: str | None = None
    limit: int | None = None
    inline: bool = False
    new: bool = False


def identity(staged: Staged, *, model: str, backend: str, key_print: str) -> str:
    """What a run is recognised by: its requests, method, model, backend and key; not its name, not its limits."""
    parts = (staged.sha256, staged.method, model, backend, key_print)
    return "i1:" + hashlib.sha256("\n".join(parts).encode()).hexdigest()


async def stage_run(
    session: Session, order: Order, folder: RunFolder, *, run_id: str, job: int | None, max_bytes: int | None
) -> tuple[Run, Staged, list[str]]:
    """Validate and copy the order's file into ``folder``; returns the run it makes, and what was said on the way.

    ``job``: the ordinal of the job that all requests are in, None where they wait to be planned. Raises UsageError for
    a wrong file, or for a model that certainly cannot serve it.
    """
    said: list[str] = []
    today = dt.datetime.fromtimestamp(session.world.now(), dt.UTC).date()
    if order.model is not None:
        check_model_name(order.model)
        known = catalog.load().find(order.model)
        if known is not None and (not known.methods or known.status_on(today) == "gone"):
            _advise(session, order.model, known.methods[0] if known.methods else "generate", today, said)
    staged = await in_thread(
        lambda tell: stage(order.source, folder, limit=order.limit, max_bytes=max_bytes, job=job, tell=tell),
        session.tell,
    )
    for problem in staged.warnings[:20]:
        say(session, said, _sentence(order.source, problem), problem.next)
    if staged.warning_count > 20:
        say(session, said, f"{staged.warning_count - 20} more warnings like these.", None)
    model = order.model or (catalog.DEFAULT_MODEL if staged.method == "generate" else catalog.EMBEDDING_MODEL)
    model = model.removeprefix("models/")
    _advise(session, model, staged.method, today, said)
    _check_modalities(model, staged)
    address, key_print = address_of(session.settings), session.key_print()
    run = Run(
        id=run_id,
        identity=identity(staged, model=model, backend=address, key_print=key_print),
        origin="made",
        created_at=session.world.now(),
        method=staged.method,
        model=model,
        backend=address,
        key_print=key_print,
        requests=staged.requests,
        bytes=staged.bytes,
        sha256=staged.sha256,
        source=str(order.source.absolute()),
    )
    return run, staged, said


def _check_modalities(model: str, staged: Staged) -> None:
    """Refuse speech or pictures that a model of the catalog does not make. Raises UsageError."""
    known = catalog.load().find(model)
    if known is None or known.kind == "other":
        return
    for modality, kind, what, instead in (
        ("AUDIO", "speech", "speech", "gemini-3.8-flash-tts"),
        ("IMAGE", "image", "pictures", "gemini-3.1-flash-image"),
    ):
        if modality in staged.modalities and known.kind != kind:
            raise UsageError(
                f"These requests ask for {what} (responseModalities), and {known.name} does not make any.",
                field="--model",
                code="model_not_usable",
                next=f"Use --model {instead}, for example.",
            )


def check_order(order: Order) -> None:
    """Refuse arguments that cannot be meant, before anything is read. Raises UsageError."""
    limit = catalog.load().limits.display_name_chars.value
    if order.limit is not None and order.limit < 1:
        raise UsageError("--limit must be at least 1.", field="--limit", code="bad_argument")
    if order.name is not None and not (0 < len(order.name) <= limit and order.name.isprintable()):
        raise UsageError(f"A display name is 1 to {limit} printable characters.", field="--name", code="bad_argument")


def check_model_name(model: str) -> None:
    """Refuse what cannot be a model's name. Raises UsageError."""
    if not re.fullmatch(r"(models/|tunedModels/)?[A-Za-z0-9][A-Za-z0-9._-]*", model):
        near = catalog.load().suggest(model)
        raise UsageError(
            f"{model!r} cannot be a model's name.",
            field="--model",
            code="bad_argument",
            next=f"Did you mean {near}?" if near else f"Write it like {catalog.DEFAULT_MODEL}.",
        )


def check_model(session: Session, model: str, method: Literal["generate", "embed"]) -> None:
    """Say what is known of a model; refuse one that certainly cannot serve these requests. Raises UsageError."""
    check_model_name(model)
    _advise(session, model, method, dt.datetime.fromtimestamp(session.world.now(), dt.UTC).date(), [])


def _advise(
    session: Session, model: str, method: Literal["generate", "embed"], today: dt.date, said: list[str]
) -> None:
    """Say what the catalog knows of the model; what is certain to fail is refused here."""
    for one in catalog.advice(catalog.load(), model, method, today):
        if one.severity == "error":
            raise UsageError(one.message, field="--model", code="model_not_usable", next=one.next)
        say(session, said, one.message, one.next, warn=one.severity == "warning")


def say(session: Session, said: list[str], message: str, following: str | None, *, warn: bool = True) -> None:
    """Tell it now, and keep it for the result."""
    session.tell(Said(message, "warning" if warn else "note", following))
    said.append(f"{message} {following}" if following else message)


def _sentence(source: Path, problem: Problem) -> str:
    place = ":".join(str(p) for p in (source.name, problem.line, problem.field) if p is not None)
    return f"{place}: {problem.message.removesuffix('.')}."


def default_name(source: Path, run_id: str) -> str:
    """A display name where none was given: the file's and the run's."""
    stem = re.sub(r"[^A-Za-z0-9._-]+", "-", source.stem).strip("-")[:80] or "requests"
    return f"{stem}-{run_id.removeprefix('run-')}"
