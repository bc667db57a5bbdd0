#!/usr/bin/env python3
# /// script
# requires-python = ">=3.11"
# # What the package itself needs, with its extra "tables": `uv run` takes the package from the clone.
# dependencies = [
#   "charset-normalizer>=3.4",
#   "click>=8.2",
#   "duckdb>=1.4",
#   "filelock>=3.20",
#   "httpx2>=2.10",
#   "jinja2>=3.1",
#   "jsonschema-rs>=0.40",
#   "msgspec>=0.20",
#   "openpyxl>=3.1",
#   "platformdirs>=4.3",
#   "python-dotenv>=1.1",
#   "rich>=14",
#   "starlette>=1.0",
#   "uvicorn>=0.40",
# ]
# ///
"""Show the state of a batch job; --wait blocks until it ends. The same as gemini-batch status."""

from launcher import run

if __name__ == "__main__":
    run("status")
