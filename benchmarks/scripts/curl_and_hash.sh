#!/bin/sh
# The least that a download can take: URL FILE. curl to the disk, then sha256sum.
set -eu
curl --silent --show-error --fail --header "x-goog-api-key: $GEMINI_API_KEY" --output "$2" "$1"
sha256sum "$2"
