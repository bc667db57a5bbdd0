"""Commands that turn the forms of a request file that other tools and Google's samples have into request lines.

Each is one line of Python, which is there wherever this program is. ``FILE`` and ``NEW`` stand for the file and a name
for its repaired copy, until :func:`for_file` puts them in.
"""

from __future__ import annotations

import dataclasses
import shlex
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from gemini_batch.errors import Problem


_PACKED = frozenset({".gz", ".zst", ".bz2", ".xz", ".zip"})
_PLACES = " FILE > NEW"
_READ = "for n, line in enumerate(open(sys.argv[1], encoding='utf-8-sig'), 1) if line.strip()"


def _command(expression: str, loops: str = "") -> str:
    return f'python -c "import json,sys; [print(json.dumps({expression})) {_READ}{loops}]"{_PLACES}'


#: For lines that have a ``request`` and no ``key``.
NUMBER = _command("{'key': f'row-{n}', **json.loads(line)}")
#: For lines that are a request, with or without a ``key`` among its fields.
WRAP = _command("{'key': r.pop('key', f'row-{n}'), 'request': r}", " for r in [json.loads(line)]")
#: For the body of a REST call that creates a job with inline requests.
UNPACK = _command(
    "{'key': (r.get('metadata') or {}).get('key', f'row-{n}-{m}'), 'request': r['request']}",
    " for b in [json.loads(line)] for b in [b.get('batch', b)] for c in [b.get('inputConfig') or b.get('input_config')]"
    " for m, r in enumerate(c['requests']['requests'], 1)",
)


def for_file(problems: Iterable[Problem], path: Path) -> list[Problem]:
    """The problems of a file, with its name in their commands."""
    places = f" {shlex.quote(str(path))} > {new_name(path)}"
    return [
        dataclasses.replace(one, next=one.next.replace(_PLACES, places)) if one.next and _PLACES in one.next else one
        for one in problems
    ]


def new_name(path: Path) -> str:
    """A name for the output of a suggested command; never an existing file, which ``>`` would empty."""
    plain = path.with_suffix("") if path.suffix.lower() in _PACKED else path
    target = plain.with_suffix(".jsonl")
    number = 1
    while target.exists():
        number += 1
        target = plain.with_name(f"{plain.stem}-{number}.jsonl")
    return shlex.quote(str(target))
