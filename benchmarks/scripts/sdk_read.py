"""Read the answers of an ended job with the official SDK: ``json|types|pictures JOB FOLDER``; prints how many.

The download streams to a file. ``json`` decodes each line, ``types`` makes the SDK's response of each, and both keep
the texts by key; ``pictures`` writes the picture of each line to a file.
"""

from __future__ import annotations

import base64
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from google import genai  # noqa: TID253 - what a program over the SDK takes is the question
from google.genai import types  # noqa: TID253

if TYPE_CHECKING:
    from collections.abc import Iterator


def lines(job: str, folder: Path) -> Iterator[dict[str, Any]]:
    """Each line of the output, decoded."""
    with genai.Client() as client:
        made = client.batches.get(name=job)
        assert made.dest
        client.files.download(file=made.dest.file_name or "", destination=folder / "answers.jsonl")
    with (folder / "answers.jsonl").open("rb") as file:
        for line in file:
            yield json.loads(line)


def main(how: str, job: str, folder: Path) -> int:
    """Read them all."""
    folder.mkdir()
    found: dict[str, str | None] = {}
    for line in lines(job, folder):
        key = line["key"]
        if how == "types":
            found[key] = types.GenerateContentResponse.model_validate(line["response"]).text
            continue
        part = line["response"]["candidates"][0]["content"]["parts"][0]
        if how == "pictures":
            path = folder / f"{key}.png"
            path.write_bytes(base64.b64decode(part["inlineData"]["data"]))
            found[key] = path.name
        else:
            found[key] = part["text"]
    return len(found)


if __name__ == "__main__":
    print(main(sys.argv[1], sys.argv[2], Path(sys.argv[3])))
