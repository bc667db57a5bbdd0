"""Request files for the measurements: no two requests alike."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.lines import MEGABYTE

if TYPE_CHECKING:
    from pathlib import Path

_TEXT = "the quick brown fox jumps over the lazy dog and walks on through the quiet wood to the river " * 20


def write_small(path: Path, rows: int) -> Path:
    """So many requests of about 130 bytes."""
    with path.open("wb") as file:
        for row in range(rows):
            prompt = f"Describe product {row} in one sentence, for a catalogue."
            file.write(
                f'{{"key":"row-{row:08}","request":{{"contents":[{{"parts":[{{"text":"{prompt}"}}]}}]}}}}\n'.encode()
            )
    return path


def write_pile(path: Path, megabytes: float) -> int:
    """About so many megabytes of requests of a kilobyte; returns how many."""
    rows = int(megabytes * MEGABYTE) // 1000
    with path.open("wb") as file:
        for row in range(rows):
            start = row % 97
            prompt = f"Tell story {row}: {_TEXT[start : start + 900]}"
            line = f'{{"key":"row-{row:08}","request":{{"contents":[{{"parts":[{{"text":"{prompt}"}}]}}]}}}}\n'
            file.write(line.encode())
    return rows


def write_pictures(path: Path, rows: int) -> Path:
    """So many requests for a picture."""
    with path.open("w") as file:
        for row in range(rows):
            contents = f'"contents":[{{"parts":[{{"text":"Paint product {row}."}}]}}]'
            config = '"generationConfig":{"responseModalities":["IMAGE"]}'
            file.write(f'{{"key":"row-{row:08}","request":{{{contents},{config}}}}}\n')
    return path
