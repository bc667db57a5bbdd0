#!/usr/bin/env python3
# /// script
# requires-python = ">=3.11"
# dependencies = ["gemini-batch"]
#
# [tool.uv.sources]
# gemini-batch = { path = "..", editable = true }
# ///
"""Check a JSONL file, upload it and make one batch job; prints the job's name. The same as gemini-batch create."""

from _start import run

if __name__ == "__main__":
    run("create")
