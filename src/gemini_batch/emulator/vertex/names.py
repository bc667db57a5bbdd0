"""Names in jobs of Vertex AI: models, objects, tables, and the project and location that a job belongs to."""

from __future__ import annotations

import re
import secrets
from typing import TYPE_CHECKING, NamedTuple

from gemini_batch import catalog
from gemini_batch.emulator.messages import errors
from gemini_batch.emulator.state import models

if TYPE_CHECKING:
    from gemini_batch.emulator.state.models import Kind

_OBJECT = re.compile(r"gs://([a-z0-9][a-z0-9._-]{1,220}[a-z0-9])(?:/([^\r\n]*))?")
_TABLE = re.compile(r"bq://([A-Za-z0-9:._-]+?)(?:\.([A-Za-z0-9_]+))?(?:\.([A-Za-z0-9_$-]+))?")
_PUBLISHED = re.compile(r"(?:projects/[^/]+/locations/[^/]+/)?publishers/([^/]+)/models/([^/@]+)(?:@[^/]+)?")
_OWN = re.compile(r"projects/[^/]+/locations/[^/]+/models/([A-Za-z0-9_-]+)(?:@[^/]+)?")
#: Versions of a model, which the catalog does not name one by one.
_VERSION = re.compile(r"-[0-9]{3}$")


class Served(NamedTuple):
    """A model: the name by which the rest of the emulator knows it, and the kind of its requests."""

    name: str
    kind: Kind


class Object(NamedTuple):
    """A place in Cloud Storage."""

    bucket: str
    name: str

    @property
    def uri(self) -> str:
        """``gs://…``."""
        return f"gs://{self.bucket}/{self.name}"


def owner(project: str, location: str) -> str:
    """Whose a job is, in the database: jobs belong to a project and a location."""
    return f"projects/{project}/locations/{location}"


def digits(count: int) -> str:
    """A random id as this platform makes them."""
    return str(secrets.randbelow(9) + 1) + "".join(str(secrets.randbelow(10)) for _ in range(count - 1))


def model(named: str) -> Served:
    """The model that a job names. Raises :class:`errors.ApiFailure` (400)."""
    if not named:
        raise errors.invalid("Missing required field: model")
    if tuned := _OWN.fullmatch(named):
        return Served(models.TUNED + tuned[1], "generate")
    found = _PUBLISHED.fullmatch(named)
    if found is None:
        raise errors.invalid(f"Invalid resource field value in the request: model: {named[:200]}")
    publisher, name = found.groups()
    known = catalog.load().find(name) or catalog.load().find(_VERSION.sub("", name))
    if publisher != "google" or known is None or not known.methods:
        raise errors.invalid(f"Do not support publisher model {name}")
    return Served(known.name, "embed" if "embed" in known.methods else "generate")


def gs(uri: str, field: str) -> Object:
    """A place in Cloud Storage. Raises :class:`errors.ApiFailure` (400)."""
    found = _OBJECT.fullmatch(uri)
    if found is None:
        raise errors.invalid(f"Invalid Cloud Storage URI in {field}: {uri[:200]!r}. It must be gs://bucket/object.")
    return Object(found[1], found[2] or "")


def bq(uri: str, field: str) -> tuple[str, str, str]:
    """Project, dataset and table, the last two empty if they are not named. Raises :class:`errors.ApiFailure` (400)."""
    found = _TABLE.fullmatch(uri)
    if found is None:
        raise errors.invalid(f"Invalid BigQuery URI in {field}: {uri[:200]!r}. It must be bq://project.dataset.table.")
    return found[1], found[2] or "", found[3] or ""
