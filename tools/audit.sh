#!/usr/bin/env bash
# Report known vulnerabilities and the licences of the packages that the jobs install: requirements.lock.txt.
#
# AUDIT is the folder of pip-audit and pip-licenses; PYTHON is an interpreter that has the packages installed.
set -euo pipefail
cd "$(dirname "$0")/.."
status=0

# pip-audit prints its table only if it found a vulnerability. It fails without a table if it can't read the database of
# vulnerabilities. With --strict, it also fails if the database does not know a package, as behind some mirrors of PyPI.
echo "== known vulnerabilities"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
if table=$("$AUDIT/pip-audit" --strict --require-hashes --disable-pip --progress-spinner off \
    -r requirements.lock.txt 2>"$log"); then
    echo "none in $(grep -c '^[a-z].*==' requirements.lock.txt) packages"
elif [ -n "$table" ]; then
    echo "$table"
    status=1
else
    echo "NOT CHECKED for vulnerabilities, because pip-audit failed: $(tail -n 1 "$log")"
    # On a laptop, the database may be out of reach. CI must not pass without the check.
    [ -z "${CI-}" ] || status=1
fi

# A licence that is not in the list fails. These packages are exceptions; docs/deploy.md names their licences.
echo "== licences"
exceptions=(mssql-python mssql-python-odbc psycopg psycopg-binary)
mapfile -t packages < <(sed -nE 's/^([^ #=]+)==.*/\1/p' requirements.workspace.txt)
"$AUDIT/pip-licenses" --python "$PYTHON" --packages "${packages[@]}" --order license
"$AUDIT/pip-licenses" --python "$PYTHON" --packages "${packages[@]}" --ignore-packages "${exceptions[@]}" \
    --partial-match --allow-only "0BSD;Apache;BSD;ISC;MIT;MPL-2.0;Mozilla Public License 2.0;PSF-2.0;Python Software Foundation" \
    >/dev/null || status=1
exit "$status"
