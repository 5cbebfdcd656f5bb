#!/usr/bin/env bash
# Validate and deploy a target of the bundle, and then run jobs of it: tools/deploy.sh TARGET [JOB ...]
#
# Deletions are not approved: a deployment that would delete a resource fails.
set -euo pipefail
cd "$(dirname "$0")/.."
target=${1:?name a target: tools/deploy.sh dev}
shift

# In CI, a variable that nobody has set arrives as an empty one. The CLI would use the empty value instead of the default,
# or instead of an error.
for name in "${!BUNDLE_VAR_@}"; do
    if [ -z "${!name}" ]; then
        unset "$name"
    fi
done

databricks bundle validate --strict -t "$target"
databricks bundle deploy -t "$target"
for job in "$@"; do
    databricks bundle run -t "$target" "$job"
done
