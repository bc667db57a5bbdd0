"""Refusals of Cloud Storage and of BigQuery: their error bodies have a list that those of other services lack."""

from __future__ import annotations

from typing import Any

from gemini_batch.emulator.messages.errors import ApiFailure


class CloudFailure(ApiFailure):
    """``{"error": {code, message, errors: [{message, domain, reason}]}}``."""

    def __init__(self, status: int, reason: str, message: str, *, location: str = "") -> None:
        super().__init__(status, reason, message)
        self._location = location

    def body(self) -> dict[str, Any]:
        """The error as these services write it."""
        one: dict[str, Any] = {"message": self.message, "domain": "global", "reason": self.reason}
        if self._location:
            one |= {"locationType": "header", "location": self._location}
        return {"error": {"code": self.status, "message": self.message, "errors": [one]}}


def invalid(message: str) -> CloudFailure:
    """400: the request is invalid."""
    return CloudFailure(400, "invalid", message)


def no_bucket() -> CloudFailure:
    """404: there is no such bucket. Writing to it does not create it."""
    return CloudFailure(404, "notFound", "The specified bucket does not exist.")


def no_object(bucket: str, name: str) -> CloudFailure:
    """404: there is no such object."""
    return CloudFailure(404, "notFound", f"No such object: {bucket}/{name}")


def condition_not_met() -> CloudFailure:
    """412: a precondition of the caller does not hold."""
    message = "At least one of the pre-conditions you specified did not hold."
    return CloudFailure(412, "conditionNotMet", message, location="If-Match")


def not_modified() -> CloudFailure:
    """304: what is there is what the caller has."""
    return CloudFailure(304, "notModified", "Not Modified")


def conflict(message: str) -> CloudFailure:
    """409: it is there already, or is not empty."""
    return CloudFailure(409, "conflict", message)
