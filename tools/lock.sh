#!/usr/bin/env bash
# Pin every package that requirements.txt leads to, in the versions of constraints.txt. Two files with the same versions:
# the lock file has hashes, which CI verifies; the jobs install the other one, because pip refuses a wheel without a hash
# beside requirements with hashes.
set -euo pipefail
cd "$(dirname "$0")/.."
lock=requirements.lock.txt workspace=requirements.workspace.txt
venv=$(mktemp -d)
trap 'rm -rf "$venv"' EXIT
"${PYTHON:-python3}" -m venv "$venv"
"$venv/bin/pip" install --quiet --disable-pip-version-check uv
"$venv/bin/uv" pip compile requirements.txt --constraint constraints.txt --python-version 3.11 \
    --python-platform x86_64-manylinux_2_28 --only-binary :all: --generate-hashes --no-header \
    --no-annotate --quiet --output-file "$venv/pins.txt"
{
    echo "# What requirements.workspace.txt pins, with hashes: \`make lock\` writes it, \`make verify-lock\` verifies the hashes."
    cat "$venv/pins.txt"
} > "$lock"
{
    echo "# What the jobs install beside the wheel: \`make lock\` writes it from requirements.txt and constraints.txt."
    sed -nE 's/^([^ #]+==[^ ]+).*/\1/p' "$venv/pins.txt"
} > "$workspace"
echo "$lock, $workspace: $(grep -c == "$workspace") packages"
