#!/usr/bin/env bash
# Print the path of Python 3.12, the only version that databricks-connect 18.3 supports.
set -euo pipefail

for python in "${PYTHON312:-python3.12}" "${PYENV_ROOT:-$HOME/.pyenv}"/versions/3.12*/bin/python \
    "$(uv python find 3.12 2>/dev/null || true)"; do
    if "$python" -c 'import sys; sys.version_info[:2] == (3, 12) or sys.exit(1); print(sys.executable)' 2>/dev/null; then
        exit 0
    fi
done
echo "error: databricks-connect 18.3 needs Python 3.12: install it (uv python install 3.12, pyenv install 3.12)," \
    "or name one: make test-connect PYTHON312=/path/to/python3.12" >&2
exit 1
