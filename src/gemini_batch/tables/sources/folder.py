"""The files of a folder, one row a file."""

from __future__ import annotations

import mimetypes
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def read_folder(folder: Path) -> Iterator[dict[str, object]]:
    """Every file below a folder, hidden ones left out, sorted by path.

    ``path`` is relative to the folder, with ``/``; ``bytes`` is the size; ``mime`` comes from the ending, and is null
    for an unknown one.
    """
    for path in sorted(folder.rglob("*")):
        place = path.relative_to(folder)
        if any(part.startswith(".") for part in place.parts) or not path.is_file():
            continue
        yield {
            "path": place.as_posix(),
            "name": path.name,
            "bytes": path.stat().st_size,
            "mime": mimetypes.guess_type(path.name)[0],
        }
