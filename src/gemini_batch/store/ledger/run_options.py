"""The options of a run, and what ``retry`` changes in its requests: an unchanged request would fail again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec

from gemini_batch.errors import UsageError
from gemini_batch.jsonl import decode_as
from gemini_batch.money.limits import Basis, MaxUsd, Unknown, nano
from gemini_batch.settings import checked_usd

if TYPE_CHECKING:
    from gemini_batch.money.limits import Usd
    from gemini_batch.prices import Tier
    from gemini_batch.store.ledger.ledger import Ledger
    from gemini_batch.store.ledger.records import Run


Route = Literal["batch", "flex", "auto"]
"""How the requests of a run are sent; ``auto``: as :mod:`gemini_batch.engine.calling.choose` decides."""


class RequestOverrides(msgspec.Struct, frozen=True, kw_only=True):
    """Settings that replace those of each request; None keeps a request's own."""

    max_output_tokens: int | None = None
    temperature: float | None = None
    #: The model of the new jobs; the requests do not change.
    model: str | None = None

    @property
    def rewrites(self) -> bool:
        """Whether the requests themselves change."""
        return self.max_output_tokens is not None or self.temperature is not None

    @property
    def asked(self) -> bool:
        """Whether anything changes at all."""
        return self.rewrites or self.model is not None

    def apply(self, line: bytes) -> bytes:
        """One request line with the settings applied; everything else is kept."""
        document: dict[str, Any] = msgspec.json.decode(line)
        request = document["request"]
        spelled = "generation_config" if "generation_config" in request else "generationConfig"
        config = request.get(spelled) or {}  # null counts as absent
        request[spelled] = config
        for camel, snake, value in (
            ("maxOutputTokens", "max_output_tokens", self.max_output_tokens),
            ("temperature", "temperature", self.temperature),
        ):
            if value is not None:
                config[snake if snake in config else camel] = value
        return msgspec.json.encode(document)


class Selection(msgspec.Struct, frozen=True, kw_only=True):
    """Which requests of a run are to be sent: the first ``limit``, or a random ``sample`` of them; by default, all."""

    limit: int | None = None
    sample: int | None = None
    seed: int = 0

    @property
    def words(self) -> tuple[str, ...]:
        """The options that ask for it."""
        if self.sample is not None:
            return ("--sample", str(self.sample), *(("--sample-seed", str(self.seed)) if self.seed else ()))
        return () if self.limit is None else ("--limit", str(self.limit))


#: A job can hold more (the service publishes no limit), but one stuck job should not hold up everything.
REQUESTS_A_JOB = 50_000
ATTEMPTS = 3


class RunOptions(msgspec.Struct, frozen=True, kw_only=True):
    """The options of a run; None: not given. They are stored, so that ``run RUN`` continues with the same ones."""

    max_requests_per_job: int | None = None
    max_tokens_per_job: int | None = None
    attempts: int | None = None
    tier: int | None = None
    #: How requests are sent; how many calls are in flight at most; whether to go on if they are charged as standard.
    via: Route | None = None
    concurrency: Annotated[int, msgspec.Meta(ge=1, le=1000)] | None = None
    allow_standard: bool | None = None
    #: When ``auto`` chooses calls: for at most so many requests and tokens, or if a batch would be too late for a time.
    flex_rows: Annotated[int, msgspec.Meta(ge=0)] | None = None
    flex_tokens: Annotated[int, msgspec.Meta(ge=0)] | None = None
    deadline: float | None = None
    #: The display name of its jobs.
    name: str | None = None
    #: Which requests are to be sent; None keeps what was chosen before.
    selection: Selection | None = None
    #: Send identical requests once.
    dedupe: bool | None = None
    #: What the run may cost, in nano-USD; the cost that is compared with it before anything is sent; and whether
    #: requests are sent whose cost nothing bounds.
    max_nano_usd: int | None = None
    max_usd_basis: Basis | None = None
    max_usd_unknown: Unknown | None = None
    #: What an unfinished retry changes in the waiting requests.
    overrides: RequestOverrides | None = None

    def capped(self, limit: MaxUsd | Usd | None) -> RunOptions:
        """These options with another limit of money, if one is given. Raises UsageError for what is no amount."""
        if limit is None:
            return self
        stated = limit if isinstance(limit, MaxUsd) else MaxUsd(limit)
        return msgspec.structs.replace(
            self,
            max_nano_usd=None if stated.usd is None else nano(checked_usd(stated.usd, "--max-usd")),
            max_usd_basis=stated.basis,
            max_usd_unknown=stated.unknown,
        )

    @classmethod
    def of(cls, **stated: object) -> RunOptions | None:
        """The options that are not None, or None. Raises UsageError for a wrong value."""
        chosen = {option: value for option, value in stated.items() if value is not None}
        try:
            return msgspec.convert(chosen, cls) if chosen else None
        except msgspec.ValidationError as error:
            what, _, where = str(error).partition(" - at `$.")
            option = where.rstrip("`")
            raise UsageError(
                f"{chosen.get(option)!r} cannot be used. {what}.", field=option, code="bad_argument"
            ) from error

    def over(self, kept: RunOptions) -> RunOptions:
        """These options, completed with the stored ones. How a trial was sent does not decide how the rest is."""
        if self.via is None and self.selection is not None and kept.selection not in {None, self.selection}:
            kept = msgspec.structs.replace(kept, via=None, deadline=None)
        said = {name: value for name in self.__struct_fields__ if (value := getattr(self, name)) is not None}
        return msgspec.structs.replace(kept, **said)

    def encoded(self) -> str:
        """As they are stored: that all requests are to be sent needs no word."""
        everything = self.selection == Selection()
        return msgspec.json.encode(msgspec.structs.replace(self, selection=None) if everything else self).decode()

    @property
    def most_attempts(self) -> int:
        """The maximum number of jobs that a request may be in."""
        return self.attempts or ATTEMPTS


def tiers_of(options: RunOptions) -> tuple[Tier, ...]:
    """How the answers of a run with these options may be charged."""
    route = options.via or "batch"
    ways: tuple[Tier, ...] = ("batch", "flex") if route == "auto" else (route,)
    return (*ways, "standard") if options.allow_standard and route != "batch" else ways


def kept_options(run: Run) -> RunOptions:
    """The stored options of a run."""
    return decode_as(run.options.encode(), RunOptions) if run.options else RunOptions()


def keep_options(ledger: Ledger, run: Run, options: RunOptions, *, at: float) -> Run:
    """Store the options of a run; returns the run with them. Raises StateError."""
    return ledger.set_options(run, options.encoded(), at=at)
