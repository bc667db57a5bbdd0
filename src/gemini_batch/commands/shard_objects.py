"""Shards, and their results, that are objects: those are read where they are, these are put there."""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from gemini_batch.errors import Error
from gemini_batch.events import in_thread
from gemini_batch.objects import names
from gemini_batch.objects.mirror import Mirror
from gemini_batch.objects.reading import ObjectFile
from gemini_batch.objects.stores import look_at
from gemini_batch.report.shards.folder import AnswersFolder

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from gemini_batch.commands.objects import Objects
    from gemini_batch.session import Session
    from gemini_batch.store.ledger.records import Run
    from gemini_batch.store.shard_manifest import Shard


async def answers_folder(session: Session, objects: Objects, output: str) -> AnswersFolder:
    """The folder of the results, opened; one in a bucket is locked until ``objects`` are done.

    The caller holds the lock of shards: what a killed process has left of them is removed.

    Raises UsageError, StateError if another process works on it, ServiceError.
    """
    shutil.rmtree(session.state_folder.at_hand, ignore_errors=True)
    place = objects.place(output)
    if place is None:
        folder = AnswersFolder(Path(output), session.state_folder)
    else:
        await objects.hold(place.inside(".lock"))
        mirror = objects.add(Mirror(session.state_folder.at_hand / "answers"))
        folder = AnswersFolder(mirror.path(place.inside("_")).parent, session.state_folder, objects=mirror)
    await in_thread(lambda _: folder.open(), session.emit)
    return folder


async def check_results(session: Session, folder: AnswersFolder, shard: Shard, run: Run) -> None:
    """Refuse to replace other files by the results of a shard. In a thread: those in a bucket are fetched, and the lock
    is refreshed meanwhile.

    Raises UsageError, ServiceError, StateError.
    """
    await in_thread(lambda _: folder.check(shard, run), session.emit)


@contextlib.asynccontextmanager
async def source_of(session: Session, shard: Shard) -> AsyncIterator[tuple[Path, ObjectFile | None]]:
    """The file of a shard that is not entered yet; for an object, a path that stands for it until the end, and it.

    Raises UsageError if there is no object, ServiceError.
    """
    place = shard.place
    if isinstance(place, Path):
        yield place, None
        return
    seen = await in_thread(lambda _: look_at(place), session.emit)
    path = session.state_folder.at_hand / str(shard.line) / place.file_name  # nothing is there, ever
    folder = f"{path.parent}{os.sep}"  # what is next to it is next to the object
    names.stand_in(folder, str(place).removesuffix(place.file_name))
    try:
        yield path, ObjectFile(place, seen)
    except Error as error:
        names.rename_error(error)  # as long as it is known what the path stands for
        raise
    finally:
        names.forget([folder])
