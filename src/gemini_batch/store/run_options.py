"""How a run is worked off, and what ``retry`` changes in its requests: one that failed as it was fails again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from gemini_batch.jsonl import decode_as

if TYPE_CHECKING:
    from gemini_batch.store.ledger import Ledger
    from gemini_batch.store.records import Run


class RequestOverrides(msgspec.Struct, frozen=True, kw_only=True):
    """Settings that replace those of each request; None leaves them."""

    max_output_tokens: int | None = None
    temperature: float | None = None
    #: The model that the new jobs ask; the requests stay as they are.
    model: str | None = None

    @property
    def rewrites(self) -> bool:
        """Whether the requests themselves change."""
        return self.max_output_tokens is not None or self.temperature is not None

    @property
    def asked(self) -> bool:
        """Whether anything changes."""
        return self.rewrites or self.model is not None

    def apply(self, line: bytes) -> bytes:
        """One request line with the settings in it; everything else stays."""
        document: dict[str, Any] = msgspec.json.decode(line)
        request = document["request"]
        spelled = "generation_config" if "generation_config" in request else "generationConfig"
        config = request.get(spelled) or {}  # null stands for an absent one
        request[spelled] = config
        for camel, snake, value in (
            ("maxOutputTokens", "max_output_tokens", self.max_output_tokens),
            ("temperature", "temperature", self.temperature),
        ):
            if value is not None:
                config[snake if snake in config else camel] = value
        return msgspec.json.encode(document)


#: More in one job is possible (the service publishes no bound), but one stuck job should not hold everything.
REQUESTS_A_JOB = 50_000
ATTEMPTS = 3


class RunOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How a run is worked off; None: not said. Kept with it, so that ``run RUN`` goes on in the same way."""

    max_requests_per_job: int | None = None
    max_tokens_per_job: int | None = None
    attempts: int | None = None
    tier: int | None = None
    #: The display name of its jobs.
    name: str | None = None
    #: What a retry that is not finished yet changes in the requests that wait.
    overrides: RequestOverrides | None = None

    def over(self, kept: RunOptions) -> RunOptions:
        """What is said here, and what was kept of the rest."""
        said = {name: value for name in self.__struct_fields__ if (value := getattr(self, name)) is not None}
        return msgspec.structs.replace(kept, **said)

    @property
    def most_attempts(self) -> int:
        """In how many jobs a request may be."""
        return self.attempts or ATTEMPTS


def kept_options(run: Run) -> RunOptions:
    """How a run was last asked to be worked off."""
    return decode_as(run.options.encode(), RunOptions) if run.options else RunOptions()


def keep_options(ledger: Ledger, run: Run, options: RunOptions, *, at: float) -> Run:
    """Write down how a run is worked off from now on; the run as it is then. Raises StateError."""
    return ledger.set_options(run, msgspec.json.encode(options).decode(), at=at)
