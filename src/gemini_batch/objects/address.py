"""What names an object: ``s3://bucket/name``, ``gs://bucket/name``, ``az://container/name``, ``file:///path``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import unquote

from gemini_batch.errors import UsageError

#: The schemes of addresses, each with what it names.
SCHEMES = {
    "s3": "s3://bucket/name",
    "gs": "gs://bucket/name",
    "az": "az://container/name",
    "abfs": "abfs://container/name",
    "file": "file:///path/name",
}
#: That of tables of BigQuery, which are no objects: :mod:`gemini_batch.objects.bigquery`.
TABLES = "bq"
_ADDRESS = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://(.*)", re.DOTALL)
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,221}")
_WILD = frozenset("*[")


@dataclass(frozen=True, slots=True)
class Address:
    """An object, or all those whose names begin with ``name/``. It holds no secret: it is shown and recorded.

    ``root``: what is opened, ``s3://bucket``; ``name``: the name in it, without slashes at its ends.
    """

    root: str
    name: str

    def __str__(self) -> str:
        return f"{self.root}/{self.name}"

    @property
    def file_name(self) -> str:
        """The last part of the name."""
        return self.name.rpartition("/")[2]

    @property
    def is_local(self) -> bool:
        """Whether it is in the file system of this machine."""
        return self.root == "file://"

    def sibling(self, file_name: str) -> Address:
        """Another object next to this one."""
        return Address(self.root, self.name.removesuffix(self.file_name) + file_name)

    def inside(self, file_name: str) -> Address:
        """An object in the place that this address names as a folder."""
        return Address(self.root, f"{self.name}/{file_name}" if self.name else file_name)


def is_address(text: object) -> bool:
    """Whether a text is an address of an object or of a table: it begins with one of the schemes."""
    return _scheme(text) in SCHEMES or is_table(text)


def is_table(text: object) -> bool:
    """Whether a text is an address of a table."""
    return _scheme(text) == TABLES


def _scheme(text: object) -> str | None:
    found = _ADDRESS.match(text) if isinstance(text, str) else None
    return None if found is None else found[1].lower()


def parse(text: str, *, field: str | None = None) -> Address:
    """The address that a text is. Raises UsageError, which does not repeat what may be a secret: user names, passwords
    and queries."""
    if is_table(text):
        raise UsageError(
            "A table of BigQuery cannot stand here: it is no file.",
            field=field,
            code="bad_address",
            next="Name a file or an object. A table can be the input of run, create, estimate and prepare, with a "
            "prompt and a key, and the output of run, retry, results and adopt.",
        )
    found = _ADDRESS.fullmatch(text)
    if found is None or (scheme := found[1].lower()) not in SCHEMES:
        raise _bad("This is no address of an object.", None, field)
    place = found[2]
    bucket, _, name = place.partition("/")
    if "@" in bucket:
        raise _bad("An address has no user, password or account before its name.", scheme, field)
    if "?" in place or "#" in place:
        raise _bad("An address has no query (?…) and no fragment (#…).", scheme, field)
    if scheme == "file":
        if bucket not in {"", "localhost"}:
            raise _bad("A file: address names this machine only.", scheme, field)
        root, name = "file://", unquote(name)
    else:
        if not _BUCKET.fullmatch(bucket):
            raise _bad("The address lacks the name of its bucket, or that is no name.", scheme, field)
        root = f"{'az' if scheme == 'abfs' else scheme}://{bucket}"  # one place has one address
    name = name.removesuffix("/")
    parts = name.split("/")
    if any(part in {".", ".."} for part in parts) or (name and "" in parts) or not name.isprintable():
        raise _bad("The parts of a name are not empty, not . or .., and have no control characters.", scheme, field)
    return Address(root, name)


def needs_name(address: Address, *, field: str | None = None) -> Address:
    """The same address, if it names an object and not a whole bucket. Raises UsageError."""
    if not address.name:
        raise _bad("The address names a bucket, and no object in it.", address.root.partition(":")[0], field)
    return address


def is_pattern(address: Address) -> bool:
    """Whether an address stands for several objects."""
    return bool(_WILD & set(address.name))


def before_wild(address: Address) -> str:
    """The folder whose objects a pattern can match: its first parts that have no wild character."""
    parts = address.name.split("/")
    plain = next((at for at, part in enumerate(parts) if _WILD & set(part)), len(parts) - 1)
    return "/".join(parts[:plain])


def _bad(what: str, scheme: str | None, field: str | None) -> UsageError:
    forms = SCHEMES[scheme] if scheme in SCHEMES else ", ".join(SCHEMES.values())
    following = f"Write {forms}; credentials come from the environment."
    return UsageError(what, field=field, code="bad_address", next=following)
