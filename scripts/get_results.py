#!/usr/bin/env python3
# /// script
# requires-python = ">=3.11"
# dependencies = ["gemini-batch"]
#
# [tool.uv.sources]
# gemini-batch = { path = "..", editable = true }
# ///
"""Fetch the answers of a batch job, one line per key. The same as gemini-batch results."""

from _start import run

if __name__ == "__main__":
    run("results")
