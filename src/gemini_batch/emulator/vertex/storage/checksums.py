"""The checksums of an object: MD5, and CRC-32C without a module of C.

The bytes of a block are one polynomial over GF(2), held in one integer. It is folded in half until little is left:
what stands above ``x**k`` is replaced by its product with the remainder of ``x**k``. Each fold takes a few shifts of a
long integer, which Python does at hundreds of megabytes a second; only the last bytes go through a table.
"""

from __future__ import annotations

import base64
import hashlib
from functools import cache

#: Castagnoli's polynomial, lowest power in the highest bit.
_POLYNOMIAL = 0x82F63B78
_BLOCK = 64 * 1024
#: Shorter messages, in bits, go through the table.
_SHORT = 1024


class Checksums:
    """The checksums of bytes that arrive in pieces."""

    def __init__(self) -> None:
        self._md5 = hashlib.md5(usedforsecurity=False)
        self._crc = 0
        self._held = bytearray()
        self.size = 0

    def update(self, piece: bytes) -> None:
        """Add bytes."""
        self._md5.update(piece)
        self.size += len(piece)
        self._held += piece
        whole = len(self._held) - len(self._held) % _BLOCK
        for start in range(0, whole, _BLOCK):
            self._crc = crc32c(bytes(self._held[start : start + _BLOCK]), self._crc)
        del self._held[:whole]

    @property
    def md5(self) -> str:
        """As metadata shows it: base64."""
        return base64.b64encode(self._md5.digest()).decode()

    @property
    def crc32c(self) -> str:
        """As metadata shows it: base64 of four bytes, the highest first."""
        return base64.b64encode(crc32c(bytes(self._held), self._crc).to_bytes(4, "big")).decode()


def crc32c(data: bytes, before: int = 0) -> int:
    """The CRC-32C of ``data``, continuing that of what came ``before``."""
    state = before ^ 0xFFFFFFFF
    if len(data) * 8 > _SHORT:
        data, state = _folded(data, state), 0
    table = _table()
    for byte in data:
        state = (state >> 8) ^ table[(state ^ byte) & 0xFF]
    return state ^ 0xFFFFFFFF


def _folded(data: bytes, state: int) -> bytes:
    """A shorter message with the same remainder; ``state`` is that of the bytes before."""
    # In the integer, bit i is the coefficient of x**(size-1-i): the first byte, lowest bit first, is the highest power.
    size = len(data) * 8
    value = int.from_bytes(data, "little") ^ state
    while size > _SHORT:
        low = -(-(size + 32) // 16) * 8  # the powers that stay: half, whole bytes, and room for the product's 32 bits
        high = size - low
        first = value & ((1 << high) - 1)
        value >>= high
        remainder, at = _power(low), low - high
        for power in range(32):
            if remainder >> power & 1:
                value ^= first << (at - power)
        size = low
    return value.to_bytes(size // 8, "little")


@cache
def _power(exponent: int) -> int:
    """The remainder of ``x**exponent``; bit i is the coefficient of ``x**i``."""
    normal = int(f"{_POLYNOMIAL:032b}"[::-1], 2) | 1 << 32
    result = 1
    for bit in f"{exponent:b}":
        result = _reduced(_square(result), normal)
        if bit == "1":
            result = _reduced(result << 1, normal)
    return result


def _square(value: int) -> int:
    return int("0".join(f"{value:b}"), 2)


def _reduced(value: int, divisor: int) -> int:
    while value.bit_length() > 32:
        value ^= divisor << (value.bit_length() - 33)
    return value


@cache
def _table() -> tuple[int, ...]:
    made = []
    for number in range(256):
        value = number
        for _ in range(8):
            value = (value >> 1) ^ (_POLYNOMIAL if value & 1 else 0)
        made.append(value)
    return tuple(made)
