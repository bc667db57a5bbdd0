"""Keys of rows: from columns, or from the request itself."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from gemini_batch.tables.making.template import RenderError, shown

if TYPE_CHECKING:
    from collections.abc import Sequence

#: What stands between the values of several key columns.
JOINT = "|"
#: Hexadecimal digits of a derived key: 80 bits, so that a billion rows do not meet by chance.
DIGITS = 20


def derived(body: bytes) -> str:
    """The key of a request whose row has none of its own: a hash of the request."""
    return hashlib.sha256(body).hexdigest()[:DIGITS]


def from_columns(row: Sequence[Any], places: Sequence[int]) -> str:
    """The key of a row, from its key columns. Raises RenderError where it has none."""
    if len(places) == 1 and type(row[places[0]]) is str and row[places[0]]:
        return row[places[0]]  # type: ignore[no-any-return]
    values = [row[at] for at in places]
    if any(value is None or value == "" for value in values):
        raise RenderError("it is empty")
    return JOINT.join(map(shown, values))
