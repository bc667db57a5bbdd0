"""A folder with one text file for each row that has a text.

The names come from the keys by the rules of media files (:func:`~gemini_batch.answers.media.file_stem`): a plain key is
the name, any other key becomes its letters, its digits and a hash, and no key chooses a folder. Files that this program
did not write are never replaced.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from gemini_batch.answers.media import file_stem
from gemini_batch.answers.media_folder import MediaFolder
from gemini_batch.errors import UsageError

if TYPE_CHECKING:
    import os
    from contextlib import AbstractContextManager


def text_folder(path: str | os.PathLike[str] | None, *, markdown: bool) -> Path | None:
    """The folder that was asked for, if it can be used. Raises UsageError, also for ``markdown`` without a folder."""
    if path is None:
        if markdown:
            raise UsageError(
                "--markdown has no effect without --output-dir.",
                field="--markdown",
                code="bad_argument",
                next="Name a folder for the texts with --output-dir.",
            )
        return None
    folder = Path(path)
    TextFolder(folder).check_place()
    return folder


class TextFolder:
    """Writes texts to ``path``, which is created for the first one.

    ``ending``: ``txt`` or ``md``. ``run``: the run that the answers belong to. ``files`` counts the files written; a
    file that has the same text already is not written again.
    """

    def __init__(self, path: Path, *, ending: Literal["txt", "md"] = "txt", run: str = "") -> None:
        self.path = path
        self.files = 0
        self._ending = ending
        self._place = MediaFolder(path, run=run, option="--output-dir")
        self._put = self._place.write
        self._used: dict[str, int] = {}

    def together(self) -> AbstractContextManager[None]:
        """Let files appear in groups, which is faster, and all of them by the end. Raises ``OSError`` there."""
        return self._place.together()

    def check_place(self) -> None:
        """Refuse a path that is not a folder and cannot become one. Raises UsageError."""
        self._place.check_place()

    def checker(self) -> TextFolder | None:
        """One that writes nothing, and raises UsageError where this one would; None for an empty folder.

        With it, all texts can be checked before the first file is written.
        """
        if self._place.is_empty():
            return None
        checking = TextFolder(self.path, ending=self._ending)
        checking._put = checking._place.check
        return checking

    def write(self, key: str, text: str) -> Path:
        """Write the text of one row, exactly, as UTF-8; returns the path.

        A key that was used before gets a number: ``key~2.txt``, ``key~3.txt``. Half surrogate pairs become U+FFFD.
        Raises UsageError for a name that a file of the user's has, ``OSError`` from the file system.
        """
        stem = file_stem(key)
        number = self._used[stem] = self._used.get(stem, 0) + 1
        name = f"{stem}{f'~{number}' if number > 1 else ''}.{self._ending}"
        self.files += self._put(name, text.encode("utf-16", "surrogatepass").decode("utf-16", "replace").encode())
        return self.path / name
