#!/usr/bin/env bash
# Build the wheel of the library into dist/. `databricks bundle deploy` calls this script.
#
# A release builds its wheel once, and deploys this file to several targets. If CDP_WHEEL_SHA256 is set, dist/ must have
# exactly one wheel with this checksum, and nothing is built.
set -euo pipefail
cd "$(dirname "$0")/.."

if [ -n "${CDP_WHEEL_SHA256-}" ]; then
    wheels=(dist/*.whl)
    if [ "${#wheels[@]}" != 1 ] || ! sha256sum --check --status <<<"$CDP_WHEEL_SHA256  ${wheels[0]}"; then
        echo "error: dist/ has ${wheels[*]}, but must have only the wheel of the release, with SHA-256" \
            "$CDP_WHEEL_SHA256: download the artifact of the release again." >&2
        exit 1
    fi
    # The CLI adds the time of the file to the version. With the time of the commit, every target has the same version.
    touch -d "@$(git log -1 --format=%ct)" "${wheels[0]}"
    exit 0
fi
# Remove build/ first: it may contain deleted modules.
rm -rf build dist
# Pin setuptools, which builds the wheel. Older versions of pip know only the second variable.
PIP_BUILD_CONSTRAINT=constraints.txt PIP_CONSTRAINT=constraints.txt \
    python3 -m pip wheel --quiet --no-deps --wheel-dir dist .
