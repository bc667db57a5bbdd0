"""Read a request file line by line: ``json FILE`` only decodes, ``types FILE`` makes the SDK's request of each line.

Prints the number of lines.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path


def decode(file: Path) -> int:
    """``json.loads`` a line."""
    with file.open("rb") as lines:
        return sum("request" in json.loads(line) for line in lines)


def types_of(file: Path) -> int:
    """The SDK's type of a request, from each line."""
    from google.genai import types

    with file.open("rb") as lines:
        return sum(
            types.InlinedRequest.model_validate({"contents": json.loads(line)["request"]["contents"]}).contents
            is not None
            for line in lines
        )


if __name__ == "__main__":
    print({"json": decode, "types": types_of}[sys.argv[1]](Path(sys.argv[2])))
