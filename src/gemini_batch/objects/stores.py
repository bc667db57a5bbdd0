"""Opens what addresses name, by obstore, and does single calls there. What obstore raises becomes an error of ours.

obstore reads credentials and endpoints from the environment. Its messages can hold URLs that are signed, so of these
only the kind of the error, the HTTP status and the store's own code are told.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import errno
import functools
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from gemini_batch.errors import Error, ServiceError, StateError, UsageError
from gemini_batch.tables.extra import needed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from obstore.store import ObjectStore, RetryConfig

    from gemini_batch.objects.address import Address

#: How long a call may take, and how long it is repeated.
_TIMEOUT = "120 seconds"
_RETRIES: RetryConfig = {"max_retries": 8, "retry_timeout": dt.timedelta(minutes=3)}
#: Bytes of a part of an upload, and how many are on their way at a time: the memory that an upload takes.
_PART, _PARTS = 8 * 1024 * 1024, 2
_STATUS = re.compile(r"\b([45]\d\d) [A-Z][a-z]+")
_NUMBER = re.compile(r"\(os error (\d+)\)")
_CODE = re.compile(r"<Code>(\w{1,60})</Code>")


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """An object as it was seen: another one under the same name differs in one of these."""

    bytes: int
    etag: str | None
    version: str | None
    modified: float

    def is_same_as(self, other: Seen) -> bool:
        """Whether it is the same object."""
        if self.etag is None or other.etag is None:
            return (self.bytes, self.modified) == (other.bytes, other.modified)
        return (self.bytes, self.etag) == (other.bytes, other.etag)

    @property
    def as_put(self) -> dict[str, str]:
        """What lets a write fail if another object is there."""
        known = {"e_tag": self.etag, "version": self.version}
        return {name: value for name, value in known.items() if value is not None}

    @property
    def options(self) -> dict[str, Any]:
        """What lets a read fail if the object is another one by now."""
        return {} if self.etag is None else {"if_match": self.etag}


class Precondition(Exception):
    """A conditional write was not done: another object is there, or none any more."""


def _obstore() -> Any:
    return needed("obstore", "An address of an object", "'gemini-batch[objects]'")


@functools.cache
def opened(root: str) -> ObjectStore:
    """The store of a bucket, opened once. Raises UsageError if obstore is missing or lacks a setting."""
    _obstore()
    from obstore.store import LocalStore, from_url

    if root == "file://":
        return LocalStore(os.path.abspath(os.sep))  # noqa: PTH100 - a text
    # An endpoint without TLS is one that the environment names itself: a server on this machine, mostly.
    with explained(root):
        return from_url(
            root, config=None, client_options={"timeout": _TIMEOUT, "allow_http": True}, retry_config=_RETRIES
        )


@contextlib.contextmanager
def explained(place: Address | str) -> Iterator[None]:
    """Let what obstore raises become an error about ``place``. Raises UsageError, ServiceError, StateError."""
    try:
        yield
    except (Error, Precondition):
        raise
    except Exception as error:
        found = _explained(error, place)
        if found is None:
            raise
        raise found from None  # its text may hold a URL that is signed


def _explained(error: Exception, place: Address | str) -> Error | None:
    from obstore import exceptions as known

    if not isinstance(error, (known.BaseError, OSError, ValueError, NotImplementedError)):
        return None
    text = str(error)
    if str(place).startswith("file:"):
        return _explained_here(error, text, str(place))
    details = " ".join(found[1] for kind in (_STATUS, _CODE) if (found := kind.search(text)) is not None)
    said = f" ({details})" if details else ""
    status = found[1] if (found := _STATUS.search(text)) is not None else None
    if isinstance(error, FileNotFoundError) or status == "404":
        return UsageError(
            f"There is no such object, or no such bucket{said}.",
            file=str(place),
            code="file_not_found",
            next="Check the address, and that the credentials are for the account that has it.",
        )
    refused = isinstance(error, (known.PermissionDeniedError, known.UnauthenticatedError, PermissionError))
    if refused or status in {"401", "403"}:
        return UsageError(
            f"Access was refused{said}.",
            file=str(place),
            code="object_refused",
            next="Check the credentials in the environment, and what they may do in this bucket.",
        )
    if isinstance(error, (known.UnknownConfigurationKeyError, ValueError)) or "must be specified" in text:
        lacks = "The account is not specified" if "Account must" in text else "A setting is missing, or has no use here"
        return UsageError(
            f"The bucket cannot be opened: {lacks}.",
            file=str(place),
            code="bad_address",
            next="Set what the store needs in the environment, AZURE_STORAGE_ACCOUNT_NAME for az:// for example.",
        )
    return ServiceError(
        f"The object store did not answer as it should{said}." if said else "The object store cannot be reached.",
        file=str(place),
        code="object_store",
        next="Check the network and the endpoint in the environment, then run the same command again.",
    )


def _explained_here(error: Exception, text: str, place: str) -> Error:
    """The same for a file of this machine, where the reason is a number of the operating system."""
    number = error.errno if isinstance(error, OSError) else None
    if number is None and (found := _NUMBER.search(text)) is not None:
        number = int(found[1])
    if isinstance(error, FileNotFoundError):
        folder = Path(place.removeprefix("file://")).is_dir()
        return UsageError(
            "This is a folder, not a file." if folder else "There is no such file.",
            file=place,
            code="file_not_found",
            next="Name a file in it." if folder else "Check the address.",
        )
    if isinstance(error, PermissionError) or number in {errno.EACCES, errno.EPERM}:
        return UsageError(
            "Access was refused.",
            file=place,
            code="object_refused",
            next="Check the permissions of the file and of its folder.",
        )
    if number in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}:
        return StateError(
            "The disk is full; the file could not be written.",
            file=place,
            code="disk_full",
            next="Free some space and run the same command again. Nothing that was written before is lost.",
        )
    return StateError(
        f"The file cannot be read or written{'' if number is None else f': {os.strerror(number)}'}.",
        file=place,
        code="object_store",
        next="Check the address; if the file is to be written, name another place for it.",
    )


def _seen(meta: Any) -> Seen:
    return Seen(
        bytes=meta["size"], etag=meta["e_tag"], version=meta["version"], modified=meta["last_modified"].timestamp()
    )


def look(address: Address) -> Seen | None:
    """What is there now; None if there is nothing. Raises UsageError, ServiceError."""
    obstore = _obstore()
    with explained(address):
        try:
            return _seen(obstore.head(opened(address.root), address.name))
        except (FileNotFoundError, IsADirectoryError):
            return None


def look_at(address: Address) -> Seen:
    """What is there now. Raises UsageError if there is nothing."""
    seen = look(address)
    if seen is None:
        with explained(address):
            raise FileNotFoundError
    return seen


def read(address: Address, start: int, end: int, seen: Seen) -> memoryview:
    """The bytes of a range that is not empty. Raises Precondition if the object is not ``seen`` any more."""
    from obstore.exceptions import PreconditionError

    obstore = _obstore()
    with explained(address):
        try:
            found = obstore.get(opened(address.root), address.name, options={"range": (start, end), **seen.options})
        except (PreconditionError, FileNotFoundError):
            raise Precondition from None
        if not _seen(found.meta).is_same_as(seen):
            raise Precondition
        content = memoryview(found.bytes())
        if len(content) != end - start:
            raise ServiceError("The object store gave fewer bytes than it announced.", file=str(address))
        return content


def read_small(address: Address) -> tuple[bytes, Seen] | None:
    """All of a small object, and what it is; None if there is nothing. Raises UsageError, ServiceError."""
    obstore = _obstore()
    with explained(address):
        try:
            found = obstore.get(opened(address.root), address.name)
        except FileNotFoundError:
            return None
        return bytes(found.bytes()), _seen(found.meta)


def put_file(address: Address, path: Path) -> None:
    """Write a file to an object, in parts if it is large; it appears whole or not at all.

    Raises UsageError, ServiceError, OSError.
    """
    obstore = _obstore()
    with path.open("rb") as file, explained(address):
        obstore.put(opened(address.root), address.name, file, chunk_size=_PART, max_concurrency=_PARTS)


def put_if(address: Address, content: bytes, there: Seen | None) -> Seen:
    """Write a small object if what is there is still what was seen; None: nothing. Returns what it is now.

    Raises Precondition if something else is there, UsageError, ServiceError.
    """
    from obstore.exceptions import AlreadyExistsError, PreconditionError

    obstore, store = _obstore(), opened(address.root)
    mode: Any = "create" if there is None else there.as_put
    with explained(address):
        try:
            with _alone(address) if there is not None and address.is_local else contextlib.nullcontext():
                if there is not None and address.is_local:
                    now = look(address)
                    if now is None or now.etag != there.etag:
                        raise Precondition
                    mode = "overwrite"
                done = obstore.put(store, address.name, content, mode=mode)
        except (AlreadyExistsError, PreconditionError):
            raise Precondition from None
        except FileNotFoundError:
            if there is None:
                raise
            raise Precondition from None
    return Seen(bytes=len(content), etag=done["e_tag"], version=done["version"], modified=0.0)


@contextlib.contextmanager
def _alone(address: Address) -> Iterator[None]:
    """Let one process at a time look and write in a folder: local files have no conditional write of their own."""
    try:
        import fcntl
    except ImportError:
        yield
        return
    folder = os.open("/" + address.name.rpartition("/")[0], os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


def delete(address: Address) -> None:
    """Delete an object, if it is there. Raises UsageError, ServiceError."""
    obstore = _obstore()
    with explained(address), contextlib.suppress(FileNotFoundError):
        obstore.delete(opened(address.root), address.name)


def listed(root: str, folder: str) -> Iterator[tuple[str, int]]:
    """All objects in a folder and below it: the name of each, and its size. Raises UsageError, ServiceError."""
    obstore = _obstore()
    with explained(f"{root}/{folder}"):
        for some in obstore.list(opened(root), folder or None):
            yield from ((one["path"], one["size"]) for one in some)
