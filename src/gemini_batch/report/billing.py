"""What may be said about money where it is not known who answers: Google, this machine, or something at an address.

Nothing is guessed into "free": offline nothing is paid, and answers that name an offline model were made by an
emulator. Whether anything else at another address costs money is unknown, and said to be.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import msgspec

from gemini_batch.backend import OFFLINE
from gemini_batch.settings import GOOGLE_BASE_URL

if TYPE_CHECKING:
    from gemini_batch.settings import Settings


#: How the emulator's answers end their ``modelVersion``, whoever wrote them (docs/emulator.md, docs/local-models.md).
EMULATED = "@offline"


def paid_again(settings: Settings) -> str:
    """The end of a sentence that offers a second job: ``, which costs money again``, where that is so."""
    if settings.offline:
        return ""
    if _is_loopback(settings.base_url):
        return f"; this costs money again, unless {settings.base_url} is an emulator"
    return ", which costs money again"


def usd(amount: float) -> str:
    """Two digits that count, however small the sum is."""
    if amount >= 1:
        return f"{amount:,.2f}"
    if amount == 0:
        return "0"
    digits = max(6, 1 - math.floor(math.log10(amount)))
    return f"{amount:.{digits}f}".rstrip("0")


def elsewhere(backend: str) -> str | None:
    """The address of a run that lives neither offline nor at Google; None for one that does."""
    return None if backend in {OFFLINE, GOOGLE_BASE_URL} else backend


def says_emulated(response: bytes | None) -> bool:
    """Whether a response names an emulator as the one who wrote it."""

    class _Version(msgspec.Struct):
        version: str = msgspec.field(default="", name="modelVersion")
        model: str = ""  # where an answer in OpenAI's shape names it

    if response is None:
        return False
    try:
        named = msgspec.json.decode(response, type=_Version)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return named.version.endswith(EMULATED) or named.model.endswith(EMULATED)


def _is_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    import ipaddress  # most addresses are Google's, and start-up is a feature

    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
