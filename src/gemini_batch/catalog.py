"""The known facts about models and the service's limits: typed access to the dated file ``catalog.toml``.

Every fact has its day and the page that states it. What is not known is absent: a missing price makes a cost ``None``.
"Today" is always an argument. The file is read at the first :func:`load`.
"""

from __future__ import annotations

import datetime as dt
import difflib
import enum
import fnmatch
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import msgspec

from gemini_batch.jsonl import decoder
from gemini_batch.prices import Fee, Price, Rates

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class Method(enum.StrEnum):
    """What a job does with each of its requests."""

    GENERATE = "generate"
    EMBED = "embed"


Kind = Literal["text", "image", "speech", "embedding", "other"]
Status = Literal["current", "going", "rerouted", "gone"]

#: The model of ``create`` and ``run`` if none is given.
DEFAULT_MODEL = "gemini-3-flash-preview"
#: The model to suggest if embeddings are requested and the model cannot create them.
EMBEDDING_MODEL = "gemini-embedding-2"
#: By kind of request, the model to suggest instead of one that cannot serve it.
DEFAULTS = {Method.GENERATE: DEFAULT_MODEL, Method.EMBED: EMBEDDING_MODEL}
#: A shutdown or a new price within this time is reported before anything is sent.
SOON = dt.timedelta(days=60)


class Fact(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Anything with a source: ``date`` is the day on which ``source`` said so."""

    date: dt.date
    source: str


class Limit(Fact, frozen=True, kw_only=True):
    """One limit that the service enforces, in ``unit``; ``note`` says how a vague number was interpreted."""

    value: int
    unit: Literal["jobs", "requests", "bytes", "hours", "days", "characters"]
    note: str = ""


class Limits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The limits that do not depend on the model. The unit is in the suffix of each name or in the limit itself."""

    concurrent_jobs: Limit
    vertex_jobs: Limit
    vertex_requests: Limit
    vertex_file_bytes: Limit
    vertex_expiry_hours: Limit
    input_file_bytes: Limit
    pdf_bytes: Limit
    storage_bytes: Limit
    inline_body_bytes: Limit
    target_hours: Limit
    job_expiry_hours: Limit
    file_life_hours: Limit
    results_kept_days: Limit
    file_id_chars: Limit
    display_name_chars: Limit
    upload_granularity_bytes: Limit

    def of_job(self, *, vertex: bool) -> JobLimits:
        """Those of one job, at Vertex AI or at the Developer API."""
        if vertex:
            return JobLimits(
                requests=self.vertex_requests.value,
                bytes=self.vertex_file_bytes.value,
                jobs=self.vertex_jobs.value,
                expiry=self.vertex_expiry_hours.value * 3600.0,
            )
        return JobLimits(
            requests=None,
            bytes=self.input_file_bytes.value,
            jobs=self.concurrent_jobs.value,
            expiry=self.job_expiry_hours.value * 3600.0,
        )


class JobLimits(NamedTuple):
    """What a job may have: requests (None: no limit is known), bytes of input; how many may be active; seconds until
    it expires."""

    requests: int | None
    bytes: int
    jobs: int
    expiry: float


class PriceEntry(Fact, frozen=True, kw_only=True):
    """The rates of a model from the day ``start`` (``from`` in the file) until the next entry begins."""

    start: dt.date = msgspec.field(name="from")
    batch: Rates
    interactive: Rates


class FeeEntry(Fact, frozen=True, kw_only=True):
    """What ``models`` charge for grounding, from ``start`` (``from``) until the day before ``until``, if it has one."""

    start: dt.date = msgspec.field(name="from")
    until: dt.date | None = None
    models: tuple[str, ...]
    search: Fee | None = None
    maps: Fee | None = None

    def holds_on(self, day: dt.date) -> bool:
        """Whether it holds on ``day``."""
        return self.start <= day and (self.until is None or day < self.until)


class EnqueuedTokens(Fact, frozen=True, kw_only=True):
    """The maximum tokens of all active jobs of one model together, by the project's tier; None: not published."""

    tier1: int | None = None
    tier2: int | None = None
    tier3: int | None = None

    def of_tier(self, tier: int) -> int | None:
        """The limit of tier 1, 2 or 3, if it is known."""
        return {1: self.tier1, 2: self.tier2, 3: self.tier3}.get(tier)


class Shutdown(Fact, frozen=True, kw_only=True):
    """The day ``on`` which a model shuts down, and what happens to requests for it from then on."""

    on: dt.date
    then: Literal["gone", "rerouted"]
    replaced_by: str
    doubt: str = ""


class Thinking(Fact, frozen=True, kw_only=True):
    """The thinking levels that a model accepts, and the one it uses if a request asks for none (empty: unknown)."""

    levels: tuple[str, ...]
    default: str = ""


class Model(Fact, frozen=True, kw_only=True):
    """One model: what it creates, by which batch methods, until when, and at what price.

    ``calls`` are methods that it has in ordinary calls only. ``context_tokens`` is for input, thinking and output
    together. ``alias_of`` names the model whose facts these are.
    """

    name: str
    kind: Kind
    methods: tuple[Method, ...] = ()
    calls: tuple[Method, ...] = ()
    alias_of: str = ""
    shutdown: Shutdown | None = None
    existing_users_only: bool = False
    prices: tuple[PriceEntry, ...] = ()
    fees: tuple[FeeEntry, ...] = ()
    enqueued_tokens: EnqueuedTokens | None = None
    context_tokens: int | None = None
    max_output_tokens: int | None = None
    thinking: Thinking | None = None
    embedding_dimension: int | None = None
    note: str = ""

    def status_on(self, day: dt.date) -> Status:
        """``going`` for the 60 days before a shutdown; from that day on ``gone``, or ``rerouted`` to another model."""
        if self.shutdown is None:
            return "current"
        if day >= self.shutdown.on:
            return self.shutdown.then
        return "going" if self.shutdown.on - day <= SOON else "current"

    def price_on(self, day: dt.date) -> Price | None:
        """The price on ``day``; None if it is unknown or the model has shut down."""
        if self.status_on(day) == "gone":
            return None
        known = [entry for entry in self.prices if entry.start <= day]
        if not known:
            return None
        entry, later = max(known, key=lambda entry: entry.start), self.next_price(day)
        fee = next((fee for fee in self.fees if fee.holds_on(day)), None)
        return Price(
            model=self.name,
            start=entry.start,
            until=later.start if later else None,
            batch=entry.batch,
            interactive=entry.interactive,
            # The price list has flex for text models at the price of a batch; for others no page says it.
            flex=entry.batch if self.kind == "text" else None,
            search=fee.search if fee else None,
            maps=fee.maps if fee else None,
            date=entry.date,
            source=entry.source,
        )

    def next_price(self, day: dt.date) -> PriceEntry | None:
        """The first announced price that begins after ``day``, or None."""
        coming = [entry for entry in self.prices if entry.start > day]
        return min(coming, key=lambda entry: entry.start) if coming else None

    def price_changes(self) -> set[dt.date]:
        """The days from which another price holds, or none."""
        days = {entry.start for entry in self.prices} | {fee.start for fee in self.fees}
        days |= {fee.until for fee in self.fees if fee.until is not None}
        return days | ({self.shutdown.on} if self.shutdown else set())


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalog:
    """All facts. ``date`` is the day on which they were last checked; ``families`` are shell-style name patterns."""

    date: dt.date
    limits: Limits
    models: Mapping[str, Model]
    families: Mapping[str, Model]

    def find(self, name: str) -> Model | None:
        """The model with this name, with or without the prefix ``models/``; None if it is not in the catalog."""
        name = name.removeprefix("models/")
        if name in self.models:
            return self.models[name]
        for pattern, family in self.families.items():
            if fnmatch.fnmatchcase(name, pattern):
                return msgspec.structs.replace(family, name=name)
        return None

    def suggest(self, name: str) -> str | None:
        """The name closest to ``name`` among the models that support batches at the catalog's date, or None."""
        name = name.removeprefix("models/").lower()
        usable = [m.name for m in self.models.values() if m.methods and m.status_on(self.date) != "gone"]
        if f"{name}-preview" in usable:  # the suffix that people omit
            return f"{name}-preview"
        near = difflib.get_close_matches(name, usable, n=1, cutoff=0.75)
        return near[0] if near else None


@cache
def load() -> Catalog:
    """Read ``catalog.toml``, once. Raises ``msgspec.ValidationError`` if the file is not what these types say."""
    import tomllib

    with Path(__file__).with_name("catalog.toml").open("rb") as file:
        document = tomllib.load(file, parse_float=Decimal)
    return decoder(lambda: parse(document))


def parse(document: Mapping[str, Any]) -> Catalog:
    """Turn a decoded catalog into its types. Raises ``msgspec.ValidationError`` if it does not match them."""
    return Catalog(
        date=msgspec.convert(document["date"], dt.date),
        limits=msgspec.convert(document["limits"], Limits),
        models=_models(document["models"], msgspec.convert(document["fees"], tuple[FeeEntry, ...])),
        families=_models(document["families"], ()),
    )


def _models(tables: Mapping[str, Mapping[str, Any]], fees: Sequence[FeeEntry]) -> Mapping[str, Model]:
    """The models of some tables, those of aliases completed. Raises ``ValidationError`` for an alias of nothing.

    ``fees`` of other names are an error, too.
    """
    found = {}
    for name, table in tables.items():
        named = table.get("alias_of")
        if named is not None and named not in tables:
            raise msgspec.ValidationError(f"{name} is an alias of {named}, which is not in the catalog")
        model = msgspec.convert({**(tables[named] if named else {}), **table, "name": name}, Model)
        mine = tuple(fee for fee in fees if (named or name) in fee.models)
        found[name] = msgspec.structs.replace(model, fees=mine)
    if unknown := {name for fee in fees for name in fee.models if name not in tables}:
        raise msgspec.ValidationError(f"fees of models that are not in the catalog: {', '.join(sorted(unknown))}")
    return MappingProxyType(found)
