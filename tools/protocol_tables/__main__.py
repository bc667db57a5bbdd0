"""Read the published schema whose path is the argument, and write the tables."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from protocol_tables.extract import page

TARGET = Path(__file__).parents[2] / "src" / "gemini_batch" / "protocol" / "schema.json"

if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m protocol_tables", description=__doc__)
    parser.add_argument("schema", type=Path, help="the published schema: an OpenAPI document in JSON")
    TARGET.write_text(page(json.loads(parser.parse_args().schema.read_bytes())), encoding="utf-8")
