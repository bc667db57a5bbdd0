"""Classifies errors: one total table, and the questions that callers ask about an error.

Two rules shape the table. Only the service can say that something is absent or forbidden: a 403 or 404 without the
service's own reason comes from a proxy or a login page and proves nothing. And unknown is never certain: an answer that
is not in the table is unreadable, so a create that got it is searched for and never simply repeated.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING

from gemini_batch.errors import ApiError, JobError, NetworkError, NotFinished, ServiceError

if TYPE_CHECKING:
    from gemini_batch.errors import Error


class Trouble(enum.Enum):
    """What an error means for what to do next."""

    #: The request itself is refused; the same request would be refused again.
    BAD_REQUEST = "bad request"
    #: The key is refused, or it belongs to another project than the requested object.
    KEY = "key"
    #: The project's state forbids it: billing, tier, or country.
    BILLING = "billing"
    #: A proxy wants other credentials; the request did not reach the service.
    PROXY = "proxy"
    #: The model is not available, or not in batches.
    MODEL = "model"
    #: There are too many requests, tokens or jobs at the moment.
    OVER_QUOTA = "over quota"
    #: The project's file store is full; it takes hours until files expire, unless some are deleted.
    STORE_FULL = "store full"
    #: The service itself says that the object does not exist, or that it has nothing to return.
    ABSENT = "absent"
    #: The key may not, or no longer, see or do this. For a file that does not exist, the service says the same.
    WITHDRAWN = "withdrawn"
    #: The service, or the network, failed temporarily.
    PASSING = "passing"
    #: The answer is not the service's, or cannot be interpreted.
    UNREADABLE = "unreadable"
    #: The request never left this machine: there is no network, or nothing listens at the address.
    NOT_SENT = "not sent"
    #: The service is not the cause: bad input, this machine's state, an interruption, or a choice that is the user's.
    LOCAL = "local"

    @property
    def passes(self) -> bool:
        """Whether it may pass without anyone's help, so that a run waits instead of ending."""
        return self in _PASSES

    @property
    def exit_code(self) -> int:
        """How a command ends: 2 if the same again cannot help, 5 for a right that was withdrawn, 4 if it can help."""
        return 2 if self in _REFUSED else 5 if self is Trouble.WITHDRAWN else 4

    @property
    def repeatable(self) -> bool:
        """Whether the same request, if harmless, may succeed within seconds."""
        return self in _REPEATABLE

    @property
    def may_have_worked(self) -> bool:
        """Whether the service may have done what was asked anyway: created the job, or cancelled it."""
        return self in _MAY_HAVE_WORKED

    @property
    def not_shown(self) -> bool:
        """Whether the service itself shows nothing under that name: it does not exist, or not for this key."""
        return self in {Trouble.ABSENT, Trouble.WITHDRAWN}


_PASSES = frozenset(
    {
        Trouble.OVER_QUOTA,
        Trouble.STORE_FULL,
        Trouble.ABSENT,  # a new job may not be found at first
        Trouble.PASSING,
        Trouble.UNREADABLE,
        Trouble.NOT_SENT,
    }
)
#: The service refuses what it was given, for good.
_REFUSED = frozenset(
    {
        Trouble.BAD_REQUEST,
        Trouble.KEY,
        Trouble.BILLING,
        Trouble.PROXY,
        Trouble.MODEL,
        Trouble.ABSENT,
        Trouble.LOCAL,
    }
)
_REPEATABLE = frozenset({Trouble.OVER_QUOTA, Trouble.PASSING, Trouble.NOT_SENT})
#: 408, 409 and 429 can come from a proxy after the service has begun to work.
_MAY_HAVE_WORKED = frozenset({Trouble.OVER_QUOTA, Trouble.STORE_FULL, Trouble.PASSING, Trouble.UNREADABLE})

#: Codes that are more precise than the status, because the code that raised the error knew what was requested.
_BY_CODE = {
    "api_key_refused": Trouble.KEY,
    "credentials_refused": Trouble.KEY,
    "bucket_refused": Trouble.KEY,
    "other_key": Trouble.KEY,
    "model_refused": Trouble.MODEL,
    "over_quota": Trouble.OVER_QUOTA,
    "storage_full": Trouble.STORE_FULL,
    "refused_for_hours": Trouble.OVER_QUOTA,
    "refused_at_all": Trouble.OVER_QUOTA,
    "calls_refused": Trouble.OVER_QUOTA,
    "upload_session_lost": Trouble.PASSING,
    "upload_damaged": Trouble.PASSING,
    "upload_failed": Trouble.PASSING,
    "attachment_processing": Trouble.PASSING,
    "create_unanswered": Trouble.PASSING,
    "create_ambiguous": Trouble.LOCAL,
}
_BY_STATUS = {
    401: Trouble.KEY,
    402: Trouble.BILLING,
    403: Trouble.WITHDRAWN,
    404: Trouble.ABSENT,
    407: Trouble.PROXY,
    408: Trouble.PASSING,
    409: Trouble.PASSING,
    410: Trouble.ABSENT,
    429: Trouble.OVER_QUOTA,
    500: Trouble.PASSING,
    502: Trouble.PASSING,
    503: Trouble.PASSING,
    504: Trouble.PASSING,
}
#: Reasons of ``google.rpc.ErrorInfo`` in a 403 about the project; it says nothing of the object that was asked for.
_PROJECT_REASONS = frozenset({"BILLING_DISABLED", "SERVICE_DISABLED", "LOCATION_POLICY_VIOLATED"})
#: What only the service can say; proxies use these statuses for their own purposes.
_NEEDS_A_REASON = frozenset({403, 404})


def meaning(error: Error) -> Trouble:
    """The meaning of ``error``. Total: every error of this package has exactly one meaning."""
    if isinstance(error, ServiceError) and (known := _BY_CODE.get(error.reason_code)):
        return known
    match error:
        case ApiError():
            return _of_answer(error)
        case NetworkError():
            return Trouble.PASSING if error.sent else Trouble.NOT_SENT
        case ServiceError():
            return Trouble.UNREADABLE
        case JobError():
            return Trouble.ABSENT
        case NotFinished():
            return Trouble.PASSING
        case _:
            return Trouble.LOCAL


def exit_code(error: Error) -> int:
    """The exit code of a command that ``error`` ends. What the service refuses for good ends like a usage error."""
    if not isinstance(error, ServiceError):
        return error.exit_code
    trouble = meaning(error)
    # Only a job that was shown before is one that a right can have been withdrawn from; any other 403 is a refusal.
    withdrawn = trouble is Trouble.WITHDRAWN and error.reason_code == "job_not_found"
    return 2 if trouble is Trouble.WITHDRAWN and not withdrawn else trouble.exit_code


def _of_answer(error: ApiError) -> Trouble:
    if error.status in _NEEDS_A_REASON and not error.reason:
        return Trouble.UNREADABLE
    if error.status == 400 and error.reason == "FAILED_PRECONDITION":
        return Trouble.BILLING
    if error.status == 403 and any(detail.get("reason") in _PROJECT_REASONS for detail in error.details):
        return Trouble.BILLING
    refused = Trouble.BAD_REQUEST if 400 <= error.status < 500 else Trouble.UNREADABLE
    return _BY_STATUS.get(error.status, refused)


def too_large(error: Error) -> bool:
    """Whether what was sent is larger than a server on the way, or the service, accepts: less of it may be accepted."""
    return isinstance(error, ApiError) and error.status == 413


def no_capacity(error: Error) -> bool:
    """Whether a call was refused because the service has too much to do: it is not charged."""
    return isinstance(error, ApiError) and error.status == 503


def own_failure(error: Error) -> bool:
    """Whether the service itself failed at a call, which is not charged then.

    An error from a server on the way, or after too long, leaves it open whether the service has answered.
    """
    return isinstance(error, ApiError) and error.status == 500


def lacks_flex(error: Error) -> bool:
    """Whether the model cannot be called with the tier flex: ``Flex API is not supported for model: …`` (seen at Vertex
    AI)."""
    return isinstance(error, ApiError) and error.status == 400 and "flex" in error.message.lower()


def unknown_address(error: Error) -> bool:
    """Whether an upload session, or a path of ours, is unknown; 404 and 410 say so without a reason.

    The servers in front of the service answer for such addresses. It does not mean that the requested object is absent.
    """
    return isinstance(error, ApiError) and error.status in {404, 410}


def unknown_upload(error: Error) -> bool:
    """The same for a query of an upload session; for a forgotten one, the service also answers 400."""
    return unknown_address(error) or (isinstance(error, ApiError) and error.status == 400)
