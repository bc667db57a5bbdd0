#!/bin/sh
# One answer for each file of a folder: PDFs, pictures, recordings. What cannot be read is skipped, with its reason.
set -eu
gemini-batch run "${1:-scans}" --attach path --prompt "Describe this file ({{ name }}) in one sentence." \
  --key path -o descriptions.csv --output-dir descriptions --markdown
