#!/usr/bin/env python3
# /// script
# requires-python = ">=3.11"
# dependencies = ["gemini-batch"]
#
# [tool.uv.sources]
# gemini-batch = { path = "..", editable = true }
# ///
"""Check a JSONL file, upload it and create one batch job; prints its name. The same as gemini-batch create."""

from _start import run

if __name__ == "__main__":
    run("create")
