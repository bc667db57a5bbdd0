"""``skill install``: the agent skill that comes with the package, copied to where coding agents look for skills.

What the user changed is never replaced unasked, and what is not ours is never removed. So the folder gets a record of
the files that were written, with their hashes. Nothing here needs a network.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from gemini_batch._version import __version__
from gemini_batch.errors import Next, StateError, UsageError
from gemini_batch.jsonl import atomic_write, encode, sha256_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

NAME = "gemini-batch"
#: The record of what was written, inside the folder.
RECORD = ".installed.json"
#: What the skill consists of; nothing else in a folder is touched, whatever its record says.
_PARTS = frozenset({"SKILL.md", "LICENSE", "scripts", "references"})
_NAMED = 5


class InstalledSkill(msgspec.Struct, frozen=True, kw_only=True):
    """The skill in the folder of a coding agent."""

    folder: str
    """Folder of the skill."""
    version: str
    """Version of gemini-batch that the skill belongs to."""
    written: list[str]
    """Files that were written, relative to the folder; empty if all were up to date."""
    removed: list[str]
    """Files of an earlier version that were removed."""


class _Record(msgspec.Struct, frozen=True):
    files: dict[str, str]
    """SHA-256 by name, as of what was written."""


class Plan(NamedTuple):
    """What has to be done to a folder, as relative names; ``edited``: those to write that are not as we left them."""

    write: list[str]
    remove: list[str]
    edited: list[str]


def plan(there: Mapping[str, str | None], recorded: Mapping[str, str], new: Mapping[str, str]) -> Plan:
    """Compare hashes by name: what is ``there`` (None: not a file), what was written before, what is ``new``."""
    write = [name for name, digest in new.items() if there.get(name) != digest]
    edited = [name for name in write if name in there and (there[name] is None or there[name] != recorded.get(name))]
    gone = [name for name in recorded if name not in new]
    return Plan(write, [name for name in gone if there.get(name) == recorded[name]], edited)


def install(
    folder: Path, *, source: Path | None = None, force: bool = False, again: Next | None = None
) -> InstalledSkill:
    """Copy the skill to ``folder``, or bring the copy there up to date; files that are not ours stay as they are.

    ``source``: the skill, by default the one of this package. ``force``: replace what was edited, too; ``again`` is the
    command that does so. Raises UsageError if something would be replaced that gemini-batch did not write, StateError
    if this package has no skill, and ``OSError`` from the file system.
    """
    source = source or packaged()
    new = {name: sha256_of(source / name) for name in names(source)}
    recorded = _recorded(folder)
    every = new.keys() | recorded.keys()
    obstacles = list(_obstacles(folder, every))
    there = {} if folder in obstacles else _hashes(folder, every, obstacles)
    steps = plan(there, recorded, new)
    in_the_way = [str(path.relative_to(folder.parent)) for path in obstacles] + steps.edited
    if in_the_way and not force:
        dots = ", …" if len(in_the_way) > _NAMED else ""
        raise UsageError(
            f"Something here was edited, or was not written by this command: {', '.join(in_the_way[:_NAMED])}{dots}. "
            "Nothing was changed.",
            file=folder,
            code="skill_edited",
            next=again or "Move the folder away, or replace these files with force.",
        )
    for path in obstacles:
        path.unlink()
    for name in steps.write:
        _copy(source / name, folder / name)
    for name in steps.remove:
        (folder / name).unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # not empty: the user's files stay
            (folder / name).parent.rmdir()
    if steps.write or steps.remove or recorded != new:
        with atomic_write(folder / RECORD) as file:
            file.write(encode(_Record(new)) + b"\n")
    return InstalledSkill(folder=str(folder), version=__version__, written=steps.write, removed=steps.remove)


def packaged() -> Path:
    """The folder of the skill that belongs to this package: in the wheel, or in the clone. Raises StateError."""
    package = Path(__file__).parents[1]
    for folder in (package / ".agents" / "skills" / NAME, package.parents[1] / "skills" / NAME):
        if (folder / "SKILL.md").is_file():
            return folder
    raise StateError(
        "This installation of gemini-batch has no skill in it.",
        code="broken_installation",
        next="Install gemini-batch again; in a clone, run make skill.",
    )


def names(source: Path) -> list[str]:
    """The files of the skill, relative to its folder, with slashes."""
    found = (path for path in source.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return sorted(name for path in found if _is_ours(name := path.relative_to(source).as_posix()))


def _is_ours(name: str) -> bool:
    """Whether a name can be one of the skill's: inside the folder, in one of its parts."""
    parts = name.split("/")
    return parts[0] in _PARTS and not {"", ".", ".."} & set(parts) and "\\" not in name


def _recorded(folder: Path) -> dict[str, str]:
    """What the record says; nothing if there is none, or none that can be read."""
    try:
        record = msgspec.json.decode((folder / RECORD).read_bytes(), type=_Record)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
        return {}
    return {name: digest for name, digest in record.files.items() if _is_ours(name)}


def _obstacles(folder: Path, every: Collection[str]) -> Iterator[Path]:
    """Links and files that stand where the skill has a folder: writing there would write elsewhere, or fail."""
    inner = {folder / parent for name in every for parent in Path(name).parents}
    for path in sorted({folder, *inner}):
        if path.is_symlink() or (path.exists() and not path.is_dir()):
            yield path
            if path == folder:
                return


def _hashes(folder: Path, every: Collection[str], obstacles: Collection[Path]) -> dict[str, str | None]:
    """The hash of each of these files that exists; None for what is not a file of its own: a link, a folder."""
    found: dict[str, str | None] = {}
    for name in every:
        path = folder / name
        if not any(parent in obstacles for parent in path.parents) and os.path.lexists(path):
            found[name] = sha256_of(path) if path.is_file() and not path.is_symlink() else None
    return found


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(target) as file:
        file.write(source.read_bytes())
    if os.access(source, os.X_OK):
        target.chmod(0o755)


def replacing(*options: str) -> Next:
    """The command that installs in spite of what was edited."""
    return Next("skill", "install", *options, "--force", why="replaces what was edited; other files stay")
