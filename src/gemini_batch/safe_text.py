"""Makes text from outside safe where it enters: fit for a terminal, and without the API key."""

from __future__ import annotations

import re

#: Invisible, harmless to terminals, and needed: Persian writes them inside words, and emoji are joined with them.
_JOINERS = "\u200c\u200d"
#: A shorter key is a placeholder for a gateway or the emulator; removing it everywhere would spoil ordinary words.
_SHORTEST_KEY = 8
#: A visible ASCII character, percent-encoded, or escaped as in JSON. Two patterns, because a search for one first
#: character is ten times as fast as a search for any of two.
_PERCENT = re.compile(rb"%(?:25)*[2-7][0-9A-Fa-f]")
_ESCAPED = re.compile(rb"\\u00[2-7][0-9A-Fa-f]")


def printable(text: str) -> str:
    """``text`` on one line, with a space in place of each control character, line ending and text-direction mark."""
    if text.isprintable():
        return text
    return "".join(letter if letter.isprintable() or letter in _JOINERS else " " for letter in text)


class Redactor:
    """Removes one secret from text, also where it is percent-encoded, escaped as in JSON, or broken over lines."""

    def __init__(self, secret: str) -> None:
        pattern = [
            rf"(?:\\?{re.escape(letter)}|(?i:%(?:25)*{ord(letter):02x}|\\u{ord(letter):04x}))" for letter in secret
        ]
        usable = len(secret) >= _SHORTEST_KEY
        self._plain = secret.encode()
        self._always_slow = any(letter in secret for letter in '"\\/')  # JSON escapes these in other ways, too
        self._text = re.compile(r"\s?".join(pattern)) if usable else None
        self._bytes = re.compile("".join(pattern).encode()) if usable else None

    def __repr__(self) -> str:
        return "Redactor(…)"

    def __call__(self, text: str) -> str:
        """``text``, printable, with ``…`` in place of the secret."""
        return self.without(printable(text))

    def without(self, text: str) -> str:
        """``text`` with ``…`` in place of the secret, and otherwise unchanged."""
        return text if self._text is None else self._text.sub("…", text)

    def in_bytes(self, data: bytes) -> bytes:
        """``data`` with ``…`` in place of the secret, in whatever form it is there."""
        return data if self._bytes is None else self._bytes.sub("…".encode(), data)

    def holds_secret(self, data: bytes) -> bool:
        """Whether the secret is in ``data``, in any form."""
        # The complete pattern is slow.
        return self._bytes is not None and not self.is_free(data) and self._bytes.search(data) is not None

    def is_free(self, data: bytes) -> bool:
        """Whether it is clear at once that the secret is not in ``data``: most data holds no encoded letters at all."""
        if self._bytes is None:
            return True
        encoded = _PERCENT.search(data) or _ESCAPED.search(data)
        return not (self._always_slow or encoded is not None or self._plain in data)
