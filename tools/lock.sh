#!/usr/bin/env bash
# Write all direct and indirect dependencies of requirements.txt to two files, with the versions of constraints.txt.
# requirements.lock.txt has hashes, and CI verifies the hashes. requirements.workspace.txt has no hashes, and the jobs
# install it together with the wheel. The wheel has no hash, and pip refuses to install it together with requirements
# that have hashes.
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
