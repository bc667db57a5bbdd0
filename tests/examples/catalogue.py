"""The job of examples/catalogue.sh: a catalogue of any size, two nights, and what the service says was sent."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from gemini_batch.emulator.responders.builtin import respond
from gemini_batch.emulator.service.core import Emulator
from gemini_batch.emulator.state.accounting import accounting

if TYPE_CHECKING:
    from pathlib import Path

    from docs.conftest import Shell

CALL = "sh examples/catalogue.sh"
_LARGE = 300_000


def write(folder: Path, count: int, pictures: int, *, changed: frozenset[int] = frozenset(), price: int = 1) -> None:
    """Products, some with a picture; two pictures are too large to be sent within their requests."""
    every = count // pictures
    for at in range(0, count, every):
        size = _LARGE if at < 2 * every else 100
        (folder / f"{at}.png").write_bytes(b"\x89PNG\r\n\x1a\n" + f"{at} ".encode() + b"." * size)
    numbers = range(count)
    columns = {
        "sku": [f"S{at}" for at in numbers],
        "name": [f"lamp {at}{' (new)' if at in changed else ''}" for at in numbers],
        "features": [f"{at} lumens" for at in numbers],
        "picture": [f"{at}.png" if at % every == 0 else None for at in numbers],
        "price": [price * 2**53 + at for at in numbers],
    }
    pq.write_table(pa.table(columns), folder / "products.parquet")


def account(shell: Shell) -> dict[str, Any]:
    with contextlib.closing(Emulator(shell.home / "offline" / "emulator", respond)) as emulator:
        return accounting(emulator.store, keys=True)


def two_nights(shell: Shell, count: int, pictures: int) -> None:
    """Everything is sent in the first night; in the second one, 7 products that changed, and nothing for new prices."""
    changed = frozenset(range(1, count, count // 7)[:7])
    write(shell.folder, count, pictures)
    shell.run(CALL)
    first = account(shell)
    assert first["keys"] == {f"S{at}": 2 for at in range(count)}
    assert [upload["sentBytes"] > _LARGE for upload in first["uploads"]].count(True) >= 2

    write(shell.folder, count, pictures, changed=changed, price=2)
    shell.run(CALL)

    second = account(shell)
    sent = {key: times - first["keys"][key] for key, times in second["keys"].items() if times != first["keys"][key]}
    assert sent == {f"S{at}": 2 for at in changed}
    assert [job["rows"] for job in second["jobs"][len(first["jobs"]) :]] == [7, 7]
    made = pq.read_table(shell.folder / "catalogue.parquet")
    source = pq.read_table(shell.folder / "products.parquet")
    assert made.select(source.column_names).to_pylist() == source.to_pylist()
    assert made.column_names == [
        *source.column_names,
        *("title", "description", "tags", "verdict", "problem"),
        *("text_embedding", "text_verdict", "text_problem"),
    ]
    assert set(made["verdict"].to_pylist()) == set(made["text_verdict"].to_pylist()) == {"succeeded"}
    assert {len(vector) for vector in made["text_embedding"].to_pylist()} == {256}
