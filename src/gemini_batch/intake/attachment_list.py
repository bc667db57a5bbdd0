"""The attachments of a run, as its folder lists them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from gemini_batch.jsonl import atomic_write
from gemini_batch.store.sqlite import state_error
from gemini_batch.tables.making.attachments import read_manifest, write_manifest

if TYPE_CHECKING:
    from collections.abc import Collection

    from gemini_batch.store.state_folder import RunFolder
    from gemini_batch.tables.making.attachments import Stored


def list_attachments(folder: RunFolder, attachments: Collection[Stored]) -> None:
    """Note in a run folder where its attachments are now: the files may have been moved. Raises StateError."""
    try:
        listed = read_manifest(folder.attachments) if folder.attachments.exists() else {}
        wanted = {**listed, **{file.sha256: file for file in attachments}}
        if wanted != listed:
            with atomic_write(folder.attachments, private=True) as file:
                write_manifest(file, wanted.values())
    except (OSError, msgspec.DecodeError) as error:
        raise state_error(error, folder.path, "run folder") from error
