#!/usr/bin/env python3
# /// script
# requires-python = ">=3.11"
# dependencies = ["gemini-batch"]
#
# [tool.uv.sources]
# gemini-batch = { path = "..", editable = true }
# ///
"""Show the state of a batch job; --wait blocks until it ends. The same as gemini-batch status."""

from _start import run

if __name__ == "__main__":
    run("status")
