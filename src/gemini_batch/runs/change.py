"""What ``retry`` changes in the requests that it sends again: a request that failed as it was fails again."""

from __future__ import annotations

from typing import Any

import msgspec


class Change(msgspec.Struct, frozen=True, kw_only=True):
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
