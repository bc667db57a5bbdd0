"""What the answers cost, and which model gave them: the one that was asked, or the one that an answer names."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

import msgspec

from gemini_batch import catalog
from gemini_batch.report.billing import EMULATED
from gemini_batch.wire import is_alias, same_model

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from gemini_batch.answers.usage import Usage
    from gemini_batch.store.records import Job, Run


class Money(msgspec.Struct, frozen=True, kw_only=True):
    """What the answers cost; None where a price or a count is not known."""

    batch: float | None
    """USD at batch price."""
    interactive: float | None
    """USD that the same calls would have cost outside a batch."""


class AnsweredBy(msgspec.Struct, frozen=True, kw_only=True):
    """Answers that name another model than the one that was asked."""

    model: str
    """Model that the answers name; if they name none, the one that their job stated."""
    asked: str
    """Model that was asked."""
    answers: int
    """Number of answers, of all attempts."""


def answered_by(run: Run, jobs: Sequence[Job], usage: Sequence[Any]) -> list[AnsweredBy]:
    """The models that answered instead of those that were asked, most answers first; never an emulator's.

    A version of the model that was asked is that model; what an alias stands for is another one.
    """
    asked = {job.ordinal: job.model for job in jobs}
    found: dict[tuple[str, str], int] = {}
    for u in usage:
        model = asked.get(u["answer_file"], run.model)
        if u["model"] and not u["model"].endswith(EMULATED) and not _is(u["model"], model):
            found[u["model"], model] = found.get((u["model"], model), 0) + u["answers"]
    ordered = sorted(found.items(), key=lambda one: (-one[1], one[0]))
    return [AnsweredBy(model=model, asked=asked, answers=answers) for (model, asked), answers in ordered]


def _is(stated: str, asked: str) -> bool:
    """Whether the model that an answer names is the one that was asked, or a version of it."""
    return stated == asked or (not is_alias(asked) and same_model(stated, asked))


def is_another(stated: str, asked: str) -> bool:
    """Whether the service states another model for a job than the one that was asked; an alias and its target agree."""
    return not same_model(stated, asked) and _target(stated) != _target(asked)


def _target(name: str) -> str:
    found = catalog.load().find(name)
    return (found.alias_of if found else "") or name.removeprefix("models/")


def _priced_as(stated: str | None, asked: str) -> catalog.Model | None:
    """The model whose price counts: the one that answered, if it is known; else the one that was asked, if it is that.

    An emulator's answers are counted as if the model that was asked had given them.
    """
    book = catalog.load()
    if stated is None or stated.endswith(EMULATED):
        return book.find(asked)
    return book.find(stated) or (book.find(asked) if _is(stated, asked) else None)


def _day(run: Run, jobs: Sequence[Job]) -> dt.date:
    """The day whose prices count: when the first job was made."""
    made = min((job.created_at for job in jobs if job.created_at), default=run.created_at)
    return dt.datetime.fromtimestamp(made, dt.UTC).date()


def _cost(stated: str | None, asked: str, day: dt.date, usage: Mapping[str, Any]) -> catalog.Cost | None:
    """What ``usage`` costs, counts by the names of ``Rows.usage``; None where a price is not known."""
    model = _priced_as(stated, asked)
    price = model.price_on(day) if model is not None else None
    if price is None:
        return None
    tokens = catalog.Tokens(
        input=max(0, usage["input"] + usage["tool_use"] - usage["cached"] - usage["audio_input"]),
        cached=usage["cached"],
        output=max(0, usage["output"] - usage["image_output"]) + usage["thoughts"],
        audio_input=usage["audio_input"],
        image_output=usage["image_output"],
        long=bool(usage["long"]),
    )
    return price.cost(tokens)


def pricing(run: Run, jobs: Sequence[Job]) -> Callable[[Usage, str | None, bool], float | None]:
    """What tells the cost of one answer at batch price, from its usage, the model it names, and whether it is long.

    It gives None where a price or a count is not known.
    """
    day, asked = _day(run, jobs), jobs[0].model if jobs else run.model

    def usd(usage: Usage, stated: str | None, long: bool) -> float | None:
        if not usage.known:
            return None
        cost = _cost(stated, asked, day, {**msgspec.structs.asdict(usage), "long": long})
        return None if cost is None else cost.batch

    return usd


def money(run: Run, jobs: Sequence[Job], usage: list[Any]) -> Money:
    """What the answers cost, by the model that each names, on the day the first job was made.

    It is unknown as soon as one part is. ``usage``: as ``Rows.usage`` gives it.
    """
    day = _day(run, jobs)
    models = {job.ordinal: job.model for job in jobs}
    if not usage or any(u["known"] < u["answers"] for u in usage):
        return Money(batch=None, interactive=None)
    cost = catalog.Cost()
    for u in usage:
        part = _cost(u["model"], models.get(u["answer_file"], run.model), day, u)
        if part is None:
            return Money(batch=None, interactive=None)
        cost += part
    return Money(batch=cost.batch, interactive=cost.interactive)
