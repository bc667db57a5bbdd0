"""Long text for a person: through the pager that the user has chosen, page by page, while it is still being made."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import click

from gemini_batch.cli.wording import encodable

if TYPE_CHECKING:
    from collections.abc import Iterable

#: What git tells `less` where the user says nothing: end at once if everything fits, keep colours and the screen.
_LESS = "-FRX"
#: Pagers that page nothing; as for git, an empty name is one of them.
_NONE = frozenset({"", "cat"})


def page(pieces: Iterable[str], *, pager: bool) -> None:
    """Show pieces of text on stdout, one after the other; on a terminal through ``PAGER``, or ``less``.

    Whoever leaves the pager has seen enough: no more pieces are made. ``pager``: False never starts one.
    """
    encoding = getattr(sys.stdout, "encoding", None) or "ascii"
    shown = (_fit(piece, encoding) for piece in pieces)
    if pager and sys.stdout.isatty() and os.environ.get("PAGER", "less").strip() not in _NONE:
        os.environ.setdefault("LESS", _LESS)
        click.echo_via_pager(shown)
        return
    for piece in shown:
        sys.stdout.write(piece)
    sys.stdout.flush()


def _fit(text: str, encoding: str) -> str:
    """The text without a character that the code page lacks; a pager's pipe has no escapes of its own."""
    return encodable(text, encoding).encode(encoding, "backslashreplace").decode(encoding)
