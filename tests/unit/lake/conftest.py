"""Fixtures: Azurite, an emulator of Azure storage. It receives the requests that would go to a storage account."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import pytest
from azure.storage.blob import BlobServiceClient
from filelock import FileLock

_AZURITE = "azurite@3.35.0"
_ACCOUNT = "devstoreaccount1"
_CONTAINER = "retail"
# The documented account key, which is the same for every Azurite.
_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
_SECONDS_TO_START = 30


@dataclass(frozen=True)
class Azurite:
    """A running Azurite with one container.

    Attributes:
        port: Port of the blob service.
        account_key: Key of the only account.
    """

    port: int
    account_key: str = _KEY

    @property
    def endpoint(self) -> str:
        """Endpoint that replaces https://<account>.blob.core.windows.net."""
        return f"http://127.0.0.1:{self.port}/{_ACCOUNT}"

    def connection_string(self, account_key: str = _KEY) -> str:
        """Return a connection string for Azure's clients."""
        return f"AccountName={_ACCOUNT};AccountKey={account_key};BlobEndpoint={self.endpoint};"

    @property
    def environment(self) -> dict[str, str]:
        """Environment variables that make adlfs and Sail send requests for `abfss://` addresses to Azurite."""
        return {
            "AZURE_STORAGE_CONNECTION_STRING": self.connection_string(),
            "AZURE_ENDPOINT": self.endpoint,
            "AZURE_ALLOW_HTTP": "true",
        }

    @property
    def spark_settings(self) -> dict[str, str]:
        """Settings that make Spark send requests for `abfss://` addresses to Azurite, by HTTP and to its Blob API."""
        return {
            "spark.hadoop.fs.abfss.impl": "org.apache.hadoop.fs.azurebfs.AzureBlobFileSystem",
            "spark.hadoop.fs.azure.abfs.endpoint": f"127.0.0.1:{self.port}",
            "spark.hadoop.fs.azure.account.hns.enabled": "false",
            "spark.hadoop.fs.azure.always.use.https": "false",
            "spark.hadoop.fs.azure.fns.account.service.type": "BLOB",
            "spark.hadoop.fs.azure.ingress.service.type": "BLOB",
            "spark.hadoop.fs.azure.networking.library": "JDK_HTTP_URL_CONNECTION",
        }

    def address(self, path: str, container: str = _CONTAINER) -> str:
        """Return the `abfss://` address of a path."""
        return f"abfss://{container}@{_ACCOUNT}.dfs.core.windows.net/{path}"


@pytest.fixture(scope="session")
def azurite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Azurite]:
    """Running Azurite, which receives all requests of this process for `abfss://` addresses."""
    if not (shutil.which("node") and shutil.which("npm")):
        pytest.skip("NOT TESTED: landing in a data lake. It needs Node.js and npm, for the emulator Azurite.")
    emulator = Azurite(_free_port())
    log = tmp_path_factory.mktemp("azurite") / "log"
    command = [_installed(), "--inMemoryPersistence", "--skipApiVersionCheck", "--disableTelemetry"]
    with log.open("wb") as output:
        server = subprocess.Popen(
            [*command, "--blobPort", str(emulator.port)], stdout=output, stderr=output, cwd=log.parent
        )
    try:
        _wait_until_it_answers(server, emulator.port, log)
        with BlobServiceClient.from_connection_string(emulator.connection_string()) as client:
            client.create_container(_CONTAINER).close()
        with pytest.MonkeyPatch.context() as environment:
            for name, value in emulator.environment.items():
                environment.setenv(name, value)
            yield emulator
    finally:
        server.terminate()
        server.wait(timeout=20)


@pytest.fixture
def lake(azurite: Azurite) -> str:
    """Address of an empty folder in the data lake."""
    return azurite.address(uuid4().hex)


def _installed() -> Path:
    """Return the path of Azurite's command. Install Azurite into the environment of the tests if it is missing."""
    folder = Path(sys.prefix) / "azurite"
    command = folder / "node_modules" / ".bin" / "azurite-blob"
    with FileLock(f"{folder}.lock"):
        if not command.exists():
            npm = ["npm", "install", "--no-save", "--no-audit", "--no-fund", "--prefix", str(folder), _AZURITE]
            folder.mkdir(exist_ok=True)
            # Node ignores SSL_CERT_FILE and reads NODE_EXTRA_CA_CERTS instead.
            certificates = {"NODE_EXTRA_CA_CERTS": os.environ.get("SSL_CERT_FILE", "")}
            installation = subprocess.run(
                npm, capture_output=True, text=True, cwd=folder, check=False, env=certificates | os.environ
            )
            if installation.returncode:
                shutil.rmtree(folder)
                pytest.fail(f"{' '.join(npm)}\n{installation.stderr}")
    return command


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def _wait_until_it_answers(server: subprocess.Popen[bytes], port: int, log: Path) -> None:
    give_up_at = time.monotonic() + _SECONDS_TO_START
    while time.monotonic() < give_up_at and server.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            time.sleep(0.05)
    pytest.fail(f"Azurite did not start: {log.read_text()}")
