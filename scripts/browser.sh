#!/usr/bin/env bash
# Install the browser in which the tests look at the report. Without one they are skipped, and say so; never an error.
set -uo pipefail

for name in chromium chromium-browser google-chrome; do
    command -v "$name" >/dev/null && exit 0
done
if ! command -v apt-get >/dev/null; then
    echo "browser.sh: no chromium and no apt-get here; the browser tests will be skipped." >&2
    exit 0
fi
as_root=()
if [ "$(id -u)" -ne 0 ]; then
    if ! sudo -n true 2>/dev/null; then
        echo "browser.sh: installing chromium needs root; the browser tests will be skipped." >&2
        exit 0
    fi
    as_root=(sudo -n)
fi
export DEBIAN_FRONTEND=noninteractive
"${as_root[@]}" apt-get update -qq &&
    "${as_root[@]}" apt-get install -y -qq --no-install-recommends chromium fonts-dejavu-core >/dev/null ||
    echo "browser.sh: chromium could not be installed; the browser tests will be skipped." >&2
