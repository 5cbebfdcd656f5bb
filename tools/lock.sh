#!/usr/bin/env bash
# Pin all direct and indirect dependencies of requirements.txt to the versions of constraints.txt, in two files. The lock
# file has hashes, which CI verifies. The jobs install the other file, because pip refuses to install a wheel without a
# hash together with requirements that have hashes.
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
    echo "# The pins of requirements.workspace.txt with hashes. \`make lock\` writes it, \`make verify-lock\` verifies the hashes."
    cat "$venv/pins.txt"
} > "$lock"
{
    echo "# Packages that the jobs install beside the wheel. \`make lock\` writes it from requirements.txt and constraints.txt."
    sed -nE 's/^([^ #]+==[^ ]+).*/\1/p' "$venv/pins.txt"
} > "$workspace"
echo "$lock, $workspace: $(grep -c == "$workspace") packages"
