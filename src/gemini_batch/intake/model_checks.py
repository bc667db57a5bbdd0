"""Checks a model before anything is sent: whether it exists, supports batches, and can create what is asked for."""

from __future__ import annotations

import datetime as dt
import re
from typing import TYPE_CHECKING

from gemini_batch import catalog
from gemini_batch.api.trouble import Trouble, meaning
from gemini_batch.catalog import Method
from gemini_batch.errors import ApiError, Next, ServiceError, UsageError
from gemini_batch.events import Notice
from gemini_batch.intake.model_advice import advice

if TYPE_CHECKING:
    from gemini_batch.intake.staging import Staged
    from gemini_batch.session import Session


#: ai.google.dev/gemini-api/docs/embeddings, 2026-11: no error, but no effect.
_IGNORES_TASK_TYPE = frozenset({"gemini-embedding-2"})


#: The catalog's facts have a day, and what an id stands for changes: the user has the last word.
OVERRULE = "--model-check off"


def advise_on_embeddings(session: Session, model: str, staged: Staged, said: list[str]) -> None:
    if "taskType" in staged.traits and model in _IGNORES_TASK_TYPE:
        say(session, said, f"{model} ignores taskType.", "Put the task in the text instead.")
    if "media" in staged.traits:
        say(
            session,
            said,
            "Images, audio and video cost more than text; the cost shown has what the answers count of each.",
            None,
            warn=False,
        )


async def ask_for_model(session: Session, model: str) -> None:
    """Ask the service for a model that the catalog does not know, before anything is written down or uploaded.

    Only a clear "no such model" stops the command; a check that itself fails does not.
    """
    if catalog.load().find(model) is not None:
        return
    try:
        await (await session.backend()).service.get_model(model)
    except ApiError as error:
        if meaning(error) is Trouble.ABSENT:
            near = catalog.load().suggest(model)
            raise UsageError(
                f"The service does not know the model {model!r}.",
                field="--model",
                code="unknown_model",
                next=f"Did you mean {near}? To send to it all the same, add {OVERRULE}."
                if near
                else Next(
                    "models", why=f"lists the models that support batches; to send to it all the same, add {OVERRULE}"
                ),
            ) from error
    except ServiceError:
        return


def check_modalities(session: Session, model: str, staged: Staged, said: list[str], *, refuse: bool) -> None:
    """Refuse, or report, requests for audio or images that a model of the catalog cannot create. Raises UsageError."""
    known = catalog.load().find(model)
    if known is None or known.kind == "other":
        return
    for modality, kind, what, instead in (
        ("AUDIO", "speech", "speech", "gemini-3.8-flash-tts"),
        ("IMAGE", "image", "pictures", "gemini-3.1-flash-image"),
    ):
        if modality in staged.modalities and known.kind != kind:
            message = f"The requests ask for {what} (responseModalities), which {known.name} cannot create."
            following = f"Use, for example, --model {instead}."
            if refuse:
                raise _not_usable(message, following)
            say(session, said, message, following)


def check_model_name(model: str) -> None:
    """Refuse a string that cannot be the name of a model. Raises UsageError."""
    if not re.fullmatch(r"(models/|tunedModels/)?[A-Za-z0-9][A-Za-z0-9._-]*", model):
        near = catalog.load().suggest(model)
        raise UsageError(
            f"{model!r} is not a valid model name.",
            field="--model",
            code="bad_argument",
            next=f"Did you mean {near}?" if near else f"Write a name such as {catalog.DEFAULT_MODEL}.",
        )


def check_model(session: Session, model: str, method: Method, *, refuse: bool) -> None:
    """Report what is known of a model; refuse one that certainly cannot serve these requests. Raises UsageError."""
    check_model_name(model)
    today = dt.datetime.fromtimestamp(session.world.now(), dt.UTC).date()
    advise(session, model, method, today, [], refuse=refuse)


def advise(session: Session, model: str, method: Method, today: dt.date, said: list[str], *, refuse: bool) -> None:
    """Report what the catalog knows of the model; with ``refuse``, refuse what certainly fails. Raises UsageError."""
    book = catalog.load()
    known = book.find(model)
    price = session.prices.price_on(model, today)
    own = price is not None and price.own
    if known is None:
        # The service knows the model or could not be asked, so another name is not suggested.
        unpriced = "" if own else "; its price is unknown"
        say(session, said, f"The model {model!r} is not in the catalog of {book.date}{unpriced}.", None)
        return
    for one in advice(book, model, method, today, priced=own):
        if method is Method.EMBED and one.message == known.note:
            continue  # general notes on the model; what concerns these requests is reported separately
        if refuse and one.severity == "error":
            raise _not_usable(one.message, str(one.next))
        say(session, said, one.message, one.next, warn=one.severity != "note")


def _not_usable(message: str, instead: str) -> UsageError:
    overrule = f"If you know that the service takes it, add {OVERRULE}."
    return UsageError(message, field="--model", code="model_not_usable", next=f"{instead} {overrule}")


def say(session: Session, said: list[str], message: str, following: str | Next | None, *, warn: bool = True) -> None:
    """Report a message now, and keep it for the result."""
    session.emit(Notice(message, "warning" if warn else "note", following))
    if isinstance(following, Next):
        following = f"Next: {following}"
    said.append(f"{message} {following}" if following else message)
