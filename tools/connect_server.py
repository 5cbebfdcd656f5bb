"""Run a command with SPARK_REMOTE set to a Spark Connect server with Delta, which lives as long as the command."""

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
    # Any free port.
    "spark.connect.grpc.binding.port": "0",
    # Spark's own default, "3GB", is none that databricks-connect can read.
    "spark.sql.session.localRelationSizeLimit": str(3 * 1024**3),
}


def address_of(server: SparkSession) -> str:
    """Address of the Spark Connect server in a session's JVM."""
    assert server._jvm is not None
    service = getattr(server._jvm.org.apache.spark.sql.connect.service, "SparkConnectService$")
    return f"sc://127.0.0.1:{getattr(service, 'MODULE$').localPort()}"


def main(command: list[str]) -> int:
    """Run the command; its exit code."""
    # Asked to end, end the command and the server too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    with ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="cdp-connect-")))
        try:
            server = stack.enter_context(delta_session(home, SETTINGS))
        except CdpError:
            # The log that the error names goes with the home.
            for log in home.glob("logs/*.log"):
                sys.stderr.write(log.read_text(encoding="utf-8", errors="replace"))
            raise
        return subprocess.run(command, env={**os.environ, "SPARK_REMOTE": address_of(server)}).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
