"""Runs a command together with a temporary Spark Connect server that supports Delta.

The environment variable SPARK_REMOTE of the command has the address of the server. The server stops after the command.
"""

import os
import signal
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from pyspark.sql import SparkSession

from cdp_lib.errors import CdpError
from cdp_local.engines import delta_session

SETTINGS = {
    "spark.plugins": "org.apache.spark.sql.connect.SparkConnectPlugin",
    "spark.connect.grpc.binding.address": "127.0.0.1",
    # 0 selects any free port.
    "spark.connect.grpc.binding.port": "0",
    # databricks-connect can't parse Spark's default, "3GB".
    "spark.sql.session.localRelationSizeLimit": str(3 * 1024**3),
}


def address_of(server: SparkSession) -> str:
    """Return the address of the Spark Connect server that runs in the JVM of a session."""
    assert server._jvm is not None
    service = getattr(server._jvm.org.apache.spark.sql.connect.service, "SparkConnectService$")
    return f"sc://127.0.0.1:{getattr(service, 'MODULE$').localPort()}"


def main(command: list[str]) -> int:
    """Run the command with a server; return the exit code of the command."""
    # On SIGTERM, stop the command and the server too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    with ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="cdp-connect-")))
        try:
            server = stack.enter_context(delta_session(home, SETTINGS))
        except CdpError:
            # Print the log, because the error names a file in the temporary folder, and this folder is deleted.
            for log in home.glob("logs/*.log"):
                sys.stderr.write(log.read_text(encoding="utf-8", errors="replace"))
            raise
        return subprocess.run(command, env={**os.environ, "SPARK_REMOTE": address_of(server)}).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
