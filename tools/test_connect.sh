#!/usr/bin/env bash
# Run the tests through databricks-connect. If an environment variable names a workspace, the tests run in this workspace,
# in the catalog CDP_TEST_CATALOG. These variables are SPARK_REMOTE, DATABRICKS_HOST, DATABRICKS_CONFIG_PROFILE,
# DATABRICKS_CLUSTER_ID and DATABRICKS_SERVERLESS_COMPUTE_ID. Otherwise, the tests run on a temporary local Spark Connect
# server.
set -euo pipefail

pytest=(.venv-connect/bin/python -m pytest "$@")
export CDP_TEST_SCOPE=engine
if [ -n "${SPARK_REMOTE-}${DATABRICKS_HOST-}${DATABRICKS_CONFIG_PROFILE-}${DATABRICKS_CLUSTER_ID-}${DATABRICKS_SERVERLESS_COMPUTE_ID-}" ]; then
    echo "== tests on a workspace"
    CDP_TEST_ENGINE=databricks exec "${pytest[@]}"
fi
"${MAKE:-make}" --silent java .venv/.run
echo "== tests on a local Spark Connect server"
CDP_TEST_ENGINE=connect CDP_TEST_CATALOG=spark_catalog exec .venv/bin/python tools/connect_server.py "${pytest[@]}"
