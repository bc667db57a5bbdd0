"""The new cells of one row, filled from its answer."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from gemini_batch.jsonl import loads
from gemini_batch.tables.outputs.kinds import Unfit, fit

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gemini_batch.tables.outputs.columns import Column


class Cells(NamedTuple):
    """The new cells of one row of the table, in the order of the columns; None means that all are null.

    A row whose ``keep`` is False is left out of the table.
    """

    values: Sequence[Any] | None
    keep: bool = True


class Filler:
    """Fills ``columns`` from one answer at a time.

    A value that does not fit its column leaves the cell null, and ``problem`` says so: an answer never stops a table.
    """

    def __init__(self, columns: Sequence[Column]) -> None:
        # Where numbers become JSON text, they keep all their digits.
        exact = Decimal if any(column.kind.holds_json for column in columns) else None
        self._decode = msgspec.json.Decoder(dict[str, Any], float_hook=exact).decode
        self._columns = [(column, fit(column.kind)) for column in columns]
        self._parsed = any(column.is_property for column in columns)
        self._problem = next((at for at, one in enumerate(columns) if one.fact == "problem"), None)

    def __call__(self, facts: Mapping[str, Any], answer: bytes | str | None = None) -> Cells:
        """The cells of one row.

        ``facts``: what is known of the row, by the names in :attr:`Column.fact`; what is absent is null. ``answer``:
        the JSON object that the model returned, from which the properties come.
        """
        parsed = self._object(answer) if self._parsed and answer is not None else {}
        values: list[Any] = []
        unfit: list[str] = []
        for column, fitted in self._columns:
            value = (parsed if column.is_property else facts).get(column.fact)
            try:
                values.append(fitted(value))
            except Unfit as error:
                values.append(None)
                unfit.append(f"The value of {column.fact!r} {error}, so its cell is empty.")
        if unfit and self._problem is not None:
            values[self._problem] = " ".join(filter(None, (values[self._problem], *unfit)))
        return Cells(values)

    def _object(self, answer: bytes | str) -> Mapping[str, Any]:
        """The object, read as tolerantly as other answers; empty if it is none. The verdict says what was wrong."""
        try:
            return self._decode(answer)
        except msgspec.ValidationError:
            return {}
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            pass
        try:
            found = loads(answer if isinstance(answer, bytes) else answer.encode("utf-8", "surrogatepass"))
        except (ValueError, RecursionError):
            return {}
        return found if isinstance(found, dict) else {}
