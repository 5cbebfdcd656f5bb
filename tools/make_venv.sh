#!/usr/bin/env bash
# Create a virtual environment with a Python version that the project supports.
set -euo pipefail
python=$1 venv=$2
if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
    echo "error: $python is missing or older than Python 3.11: make PYTHON=/path/to/python3.12 ..." >&2
    exit 1
fi
if ! "$python" -m venv "$venv"; then
    rm -rf "$venv"
    echo "error: $python can't make a virtual environment: install its venv module (Debian: apt-get install python3-venv)." >&2
    exit 1
fi
