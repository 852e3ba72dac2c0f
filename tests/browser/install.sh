#!/bin/sh
# The browser that the tests of the page need, on Debian or Ubuntu as root.
set -eu
if command -v chromium >/dev/null && command -v chromedriver >/dev/null; then
    exit 0
fi
export DEBIAN_FRONTEND=noninteractive
log=$(mktemp)
trap 'rm -f "$log"' EXIT
if ! { apt-get -qq update && apt-get -qq install --yes --no-install-recommends chromium chromium-driver; } >"$log" 2>&1; then
    cat "$log" >&2
    exit 1
fi
