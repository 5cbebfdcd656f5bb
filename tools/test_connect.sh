#!/usr/bin/env bash
# The suite through databricks-connect: on the workspace that the environment names (SPARK_REMOTE, DATABRICKS_HOST,
# DATABRICKS_CONFIG_PROFILE, DATABRICKS_CLUSTER_ID, DATABRICKS_SERVERLESS_COMPUTE_ID), in the catalog CDP_TEST_CATALOG,
# else on a Spark Connect server of its own.
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
