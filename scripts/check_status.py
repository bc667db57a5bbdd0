#!/usr/bin/env python3
# /// script
# requires-python = ">=3.11"
# dependencies = ["gemini-batch"]
#
# [tool.uv.sources]
# gemini-batch = { path = "..", editable = true }
# ///
"""How a batch job stands; --wait until it has ended. The same as gemini-batch status."""

from _start import run

if __name__ == "__main__":
    run("status")
