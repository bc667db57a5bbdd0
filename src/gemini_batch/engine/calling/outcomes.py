"""What the end of a call means: an answer, a refusal that is not paid for, or doubt. Pure functions."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING

import msgspec

from gemini_batch import jsonl
from gemini_batch.api.trouble import Trouble, lacks_flex, meaning, no_capacity, own_failure
from gemini_batch.errors import ApiError

if TYPE_CHECKING:
    from gemini_batch.api.calls import Called
    from gemini_batch.errors import ServiceError

FLEX = "flex"


class End(enum.Enum):
    """What becomes of a request whose call failed."""

    #: The error is the answer to this request.
    ANSWER = "answer"
    #: It was refused, for load or a quota: not paid for, and sent again at the service's pace.
    REFUSED = "refused"
    #: It never left this machine: sent again.
    NOT_SENT = "not sent"
    #: Nothing tells whether it was answered, and paid for: sent again once.
    BROKEN = "broken"
    #: The service would refuse every other call, too.
    STOP = "stop"


def end_of(error: ServiceError, *, names_files: bool) -> End:
    """What a failed call means. ``names_files``: its request names files, which this key may not be allowed to read."""
    match meaning(error):
        case Trouble.OVER_QUOTA | Trouble.STORE_FULL:
            return End.REFUSED
        case Trouble.NOT_SENT:
            return End.NOT_SENT
        case Trouble.PASSING | Trouble.UNREADABLE:
            return End.REFUSED if no_capacity(error) else End.ANSWER if own_failure(error) else End.BROKEN
        case Trouble.BAD_REQUEST:
            return End.STOP if lacks_flex(error) else End.ANSWER
        case Trouble.WITHDRAWN | Trouble.ABSENT if names_files:
            return End.ANSWER
        case _:
            return End.STOP


def answer_line(key: bytes, called: Called) -> bytes:
    """An answer as a line of a result file; ``key`` is JSON. ``serviceTier`` says which tier served it if not flex."""
    tier = b',"serviceTier":' + msgspec.json.encode(called.tier) if called.tier not in {"", FLEX} else b""
    return b'{"key":' + key + tier + b',"response":' + called.body + b"}\n"


def error_line(key: bytes, error: ServiceError) -> bytes:
    """An error in place of an answer, as a line of a result file."""
    said: dict[str, object] = {"message": error.message}
    if isinstance(error, ApiError):
        said |= {"code": error.status, "status": error.reason, "details": list(error.details)}
    return b'{"key":' + key + b',"error":' + msgspec.json.encode(said) + b"}\n"


def is_json(body: bytes) -> bool:
    """Whether the body of an answer can be read at all, or be repaired when it is judged, as a line of a batch can."""
    try:
        body.decode()  # msgspec does not check the encoding of what it leaves raw
        msgspec.json.decode(body, type=msgspec.Raw)
    except UnicodeDecodeError:
        return False
    except msgspec.DecodeError:
        if jsonl.repair(body) is None:
            return False
    return body.lstrip().startswith(b"{")
