"""Write every generated page."""

from __future__ import annotations

from pathlib import Path

from reference import command_line, error_codes, json_documents

FOLDER = Path(__file__).parents[2] / "docs" / "reference"
PAGES = {
    "command-line.md": command_line.page,
    "json.md": json_documents.page,
    "error-codes.md": error_codes.page,
}

if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name, page in PAGES.items():
        (FOLDER / name).write_text(page(), encoding="utf-8")
