#!/bin/sh
# The least that taking a request file in can take: FILE COPY. sha256sum, and a copy that is on the disk.
set -eu
sha256sum "$1"
cp "$1" "$2"
sync "$2"
