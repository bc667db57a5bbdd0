"""Which requests were paid for, by key: read from outputs, and recorded before an output is changed or removed."""

from __future__ import annotations

from typing import IO, TYPE_CHECKING

import msgspec

from gemini_batch import jsonl

if TYPE_CHECKING:
    import sqlite3
    from collections import Counter
    from collections.abc import Iterator
    from pathlib import Path

    from gemini_batch.emulator.state.store import Store


class _Answer(msgspec.Struct, gc=False):
    response: msgspec.Raw = msgspec.Raw()
    key: msgspec.Raw = msgspec.Raw()
    metadata: msgspec.Raw = msgspec.Raw()


_answer = msgspec.json.Decoder(_Answer)


def _note(store: Store, batch_id: str) -> Path:
    return store.blob(f"paid-{batch_id}")


def note(store: Store, batch_id: str, output: Path, size: int | None = None) -> None:
    """Record the keys of the answers in an output (its first ``size`` bytes), unless that was done before."""
    path = _note(store, batch_id)
    if path.exists():
        return
    with output.open("rb") as source, jsonl.atomic_write(path, private=True) as target:
        target.writelines(msgspec.json.encode(key) + b"\n" for key in _keys(source, size))


def keep(store: Store, batch: sqlite3.Row) -> None:
    """Record what was paid for in a batch whose output is about to be removed, complete or partial."""
    for path, size in _places(store, batch):
        if path.exists():
            note(store, batch["id"], path, size)
            return


def count(store: Store, batch: sqlite3.Row, paid: Counter[str]) -> None:
    """Add how often each key of a batch was paid for; rows without a key count under the empty key."""
    noted = _note(store, batch["id"])
    if noted.exists():
        with noted.open("rb") as source:
            paid.update(msgspec.json.decode(line.data) for line in jsonl.read_lines(source))
        return
    for path, size in _places(store, batch):
        if path.exists():
            with path.open("rb") as source:
                paid.update(_keys(source, size))
            return


def note_dropped(store: Store, batch_id: str, dropped: tuple[int, int]) -> None:
    """Record how many lines with a response, and with an error, an output lacks, so that they are not counted."""
    if any(dropped):
        store.blob(f"dropped-{batch_id}").write_bytes(msgspec.json.encode(dropped))


def dropped(store: Store, batch_id: str) -> tuple[int, int]:
    """The numbers that :func:`note_dropped` recorded."""
    path = store.blob(f"dropped-{batch_id}")
    return msgspec.json.decode(path.read_bytes(), type=tuple[int, int]) if path.exists() else (0, 0)


def _places(store: Store, batch: sqlite3.Row) -> list[tuple[Path, int | None]]:
    """Where the output of a batch may be, and how many of its bytes count."""
    return [(store.partial(batch["id"]), batch["out_offset"]), (store.output(batch["id"]), None)]


def _keys(source: IO[bytes], size: int | None) -> Iterator[str]:
    for line in jsonl.read_lines(source):
        if size is not None and line.offset >= size:
            return
        answer = _answer.decode(line.data)
        if answer.response:
            yield _key(answer)


def _key(answer: _Answer) -> str:
    value: object = msgspec.json.decode(answer.key) if answer.key else ""
    if answer.metadata:
        metadata = msgspec.json.decode(answer.metadata)
        value = metadata.get("key", metadata) if isinstance(metadata, dict) else metadata
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()
