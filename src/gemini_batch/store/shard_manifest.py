"""Reads a manifest of shards: which files hold the requests, how many, and their hashes."""

from __future__ import annotations

import hashlib
import posixpath
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec

from gemini_batch.catalog import Method
from gemini_batch.errors import InvalidInput, Problem, UsageError
from gemini_batch.jsonl import NotJson, decode, read_lines
from gemini_batch.objects import stores
from gemini_batch.objects.address import SCHEMES, Address, is_address, needs_name, parse
from gemini_batch.transcript.sizes import counted

if TYPE_CHECKING:
    from collections.abc import Iterable

#: The longest line of a manifest, and the most bytes of it: more than 100,000 shards.
_LONGEST, _MOST = 64 * 1024, 256 * 1024 * 1024
#: Objects that are looked at at a time.
_LOOKS = 16
_ANEW = "Write the manifest anew after its shards."
#: The words of a manifest for what requests ask for.
METHODS = {"generateContent": Method.GENERATE, "embedContent": Method.EMBED}
_NAMES = {method: name for name, method in METHODS.items()}
#: What msgspec says, as a user would understand it.
_WORDS = {
    "Object missing required field": "It lacks the field",
    "Expected `str` matching regex '^[0-9A-Fa-f]{64}$'": "This has to be 64 hexadecimal digits",
    "Expected `object`": "Each line is a JSON object, one for each shard",
}


class _Line(msgspec.Struct, frozen=True):
    """A line of a manifest. Other fields are the user's own."""

    uri: Annotated[str, msgspec.Meta(min_length=1, max_length=4096)]
    requests: Annotated[int, msgspec.Meta(ge=1)]
    bytes: Annotated[int, msgspec.Meta(ge=1)]
    sha256: Annotated[str, msgspec.Meta(pattern="^[0-9A-Fa-f]{64}$")]
    tokens: Annotated[int, msgspec.Meta(ge=0)] | None = None
    method: str | None = None


class Shard(msgspec.Struct, frozen=True, kw_only=True):
    """One shard as the manifest names it. ``line``: where; ``method`` None: what its requests are."""

    line: int
    uri: str
    place: Path | Address
    requests: int
    bytes: int
    sha256: str
    tokens: int | None
    method: Method | None

    @property
    def name(self) -> str:
        """The name of its file, or the last part of that of its object."""
        return self.place.file_name if isinstance(self.place, Address) else self.place.name


class ShardManifest(msgspec.Struct, frozen=True, kw_only=True):
    """A manifest of shards. ``id`` recognises it by its content."""

    path: Path
    id: str
    shards: tuple[Shard, ...]

    @property
    def requests(self) -> int:
        """The number of requests in all shards."""
        return sum(shard.requests for shard in self.shards)


def read_manifest(path: Path, at: Address | None = None) -> ShardManifest:
    """Read a manifest: JSON Lines with ``uri, requests, bytes, sha256`` and, if they are known, ``tokens, method``.

    A relative ``uri`` counts from the folder of the manifest, and from its place in a bucket if ``path`` stands in for
    the object ``at``. The shards themselves are not opened
    (:func:`check_present`). Raises UsageError; InvalidInput with every problem of its lines.
    """
    problems: list[Problem] = []
    shards: list[Shard] = []
    digest, uris, hashes = hashlib.sha256(), dict[Path | Address, int](), dict[str, int]()
    try:
        if path.is_file() and path.stat().st_size > _MOST:
            raise UsageError("This is too large for a manifest of shards.", file=path, code="bad_manifest")
        with path.open("rb") as file:
            for line in read_lines(file, limit=_LONGEST):
                digest.update(line.data + b"\n")
                if not line.data.strip():
                    continue
                found = _shard(path, at, line.data, line.number)
                if isinstance(found, Shard):
                    found = _twice(found, uris, hashes) or found
                if isinstance(found, Problem):
                    problems.append(found)
                else:
                    shards.append(found)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "a line is too long"
        raise UsageError(
            f"The manifest of shards cannot be read: {why}.", file=path, field="--shards", code="unreadable_file"
        ) from error
    if problems:
        raise InvalidInput(path, problems)
    if not shards:
        raise UsageError("The manifest names no shard.", file=path, field="--shards", code="empty_file")
    return ShardManifest(path=path, id=digest.hexdigest()[:16], shards=tuple(shards))


def _shard(manifest: Path, at: Address | None, data: bytes, number: int) -> Shard | Problem:
    try:
        line = msgspec.convert(decode(data), _Line)
    except NotJson as error:
        return Problem(message=f"The line is not JSON: {error}.", line=number)
    except msgspec.ValidationError as error:
        what, _, where = str(error).partition(" - at `$.")
        for said, better in _WORDS.items():
            what = what.replace(said, better)
        return Problem(message=f"{what}.", line=number, field=where.rstrip("`") or None)
    if line.method is not None and line.method not in METHODS:
        known = " or ".join(METHODS)
        return Problem(message=f"{line.method!r} is no method of a batch: {known}.", line=number, field="method")
    place = _place(manifest, at, line.uri)
    if isinstance(place, str):
        known = ", ".join(SCHEMES.values())
        return Problem(message=place, line=number, field="uri", next=f"Name a path, or an address: {known}.")
    return Shard(
        line=number,
        uri=line.uri,
        place=place,
        requests=line.requests,
        bytes=line.bytes,
        sha256=line.sha256.lower(),
        tokens=line.tokens,
        method=METHODS.get(line.method) if line.method else None,
    )


def check_present(manifest: ShardManifest, shards: Iterable[Shard]) -> None:
    """Make sure that shards are there and have the size that the manifest says. Raises InvalidInput; for shards in a
    bucket, also UsageError, ServiceError."""
    with ThreadPoolExecutor(_LOOKS) as looking:
        problems = [problem for problem in looking.map(_absent, shards) if problem is not None]
    if problems:
        raise InvalidInput(manifest.path, problems)


def _absent(shard: Shard) -> Problem | None:
    place = shard.place
    if isinstance(place, Address):
        seen = stores.look(place)
        size, what = (seen and seen.bytes), "There is no such object"
    else:
        try:
            size = place.stat().st_size if place.is_file() else None
        except OSError as error:
            return Problem(message=f"The shard cannot be read: {error.strerror}.", line=shard.line, field="uri")
        what = "This is a folder, not a file" if place.is_dir() else "There is no such file"
    if size is None:
        return Problem(message=f"{what}: {place}.", line=shard.line, field="uri")
    if size != shard.bytes:
        message = f"The shard has {size:,} bytes, and the manifest says {shard.bytes:,}."
        return Problem(message=message, line=shard.line, field="bytes", next=_ANEW)
    return None


def check_same(manifest: ShardManifest, shard: Shard, *, requests: int, sha256: str, method: Method) -> None:
    """Compare what a shard holds with what the manifest says. Raises UsageError."""
    stated = [
        ("sha256", shard.sha256, sha256, f"the sha256 {sha256}"),
        ("requests", f"{shard.requests:,}", f"{requests:,}", counted(requests, "request")),
        ("method", _NAMES[shard.method or method], _NAMES[method], f"the method {_NAMES[method]}"),
    ]
    for field, said, found, told in stated:
        if said != found:
            raise UsageError(
                f"{shard.uri} has {told}, and the manifest says {said}. It was not sent.",
                file=manifest.path,
                line=shard.line,
                field=field,
                code="shard_differs",
                next=_ANEW,
            )


def _place(manifest: Path, at: Address | None, uri: str) -> Path | Address | str:
    """What a URI names: a file on this machine, also for ``file:``, or an object; else what is wrong with it."""
    if "://" not in uri:
        if at is None or uri.startswith("/"):
            return manifest.absolute().parent / uri
        uri = f"{at.root}/{posixpath.normpath(at.sibling(uri).name)}"
    elif not is_address(uri):
        return "This is no path, and no address of a file or an object."
    try:
        found = needs_name(parse(uri))
    except UsageError as error:
        return error.message
    return Path("/" + found.name) if found.is_local and at is None else found


def _twice(shard: Shard, uris: dict[Path | Address, int], hashes: dict[str, int]) -> Problem | None:
    """The problem of a shard that is named twice: its requests would have two results."""
    first = uris.setdefault(shard.place, shard.line)
    if first != shard.line:
        return Problem(message=f"This shard is already named on line {first}.", line=shard.line, field="uri")
    first = hashes.setdefault(shard.sha256, shard.line)
    if first != shard.line:
        return Problem(
            message=f"The shard on line {first} has the same content, so each of its keys would have two results.",
            line=shard.line,
            field="sha256",
        )
    return None
