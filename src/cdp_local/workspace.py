"""The local workspace: a home folder, the bundle, the sources and a Spark session."""

from __future__ import annotations

import os
import pwd
import re
import stat
from collections.abc import Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from filelock import FileLock, Timeout
from pyspark.sql import SparkSession

from cdp_lib.errors import CdpError
from cdp_lib.landing import Landing
from cdp_lib.source_address import SAMPLES, SourceAddress
from cdp_lib.sources_file import ENTITIES
from cdp_local.bundle import PROJECT, Bundle
from cdp_local.dbutils import SecretStore
from cdp_local.demo import DEMO, DEMO_VARIABLES
from cdp_local.demo.shop import Shop
from cdp_local.engines import catalog_of, open_session
from cdp_local.erasure_key import read_erasure_key
from cdp_local.notebooks import Workspace
from cdp_local.samples import Samples, serve_samples
from cdp_local.sources import SECRETS_FILE, check_home, holds_demo, read_configuration

_PLAIN_PATH = re.compile(r"[A-Za-z0-9/._-]+")
_NO_LOGIN = ("nologin", "false", "sync")
_FIRST_PERSON, _NOBODY = 1000, 65534
"""Lowest user id of a person on Linux, and the user id of the account `nobody`."""

_KEY_OF_LAKE = "set the environment variable CDP_SECRET_<SCOPE>_STORAGE_ACCOUNT_KEY to the key of the storage account"


@dataclass(frozen=True)
class LocalWorkspace:
    """An open workspace on this machine.

    Attributes:
        home: Folder with all data of the workspace.
        bundle: The bundle. Its variables have the values for this workspace.
        landing: Landing of the workspace.
        notebooks: Session, secrets and task values that the notebooks of a run share.
        has_sample_sources: Whether the run reads the sample sources.
    """

    home: Path
    bundle: Bundle
    landing: Landing
    notebooks: Workspace
    has_sample_sources: bool

    @property
    def session(self) -> SparkSession:
        """The Spark session. A table is registered in the session when a store first uses the table."""
        return self.notebooks.spark

    @property
    def spark(self) -> SparkSession:
        """The Spark session. Reading this property first registers all tables and views in the session."""
        if catalog := catalog_of(self.session):
            catalog.register_all()
        return self.session


@contextmanager
def open_workspace(
    engine: str,
    home: Path | None,
    variables: Mapping[str, str],
    reading: Collection[str] = (),
    *,
    is_demo: bool = False,
) -> Iterator[LocalWorkspace]:
    """Open a local workspace and lock its home folder.

    If no source is configured, the workspace has samples of all sources. If at least one source is configured, it has
    no samples, so that invented data never mixes with real data.

    Args:
        engine: `sail` or `spark`.
        home: Folder with all data of the workspace. None for the default folder (`Configuration.default_home`).
        variables: Values of bundle variables, by name. They override the defaults.
        reading: Entities whose sources are read while the workspace is open. Empty for none.
        is_demo: Whether the sources are those of the demo shop. A home folder with the demo's data needs no flag.

    Raises:
        CdpError: The home folder can't be written or is in use, a variable or the engine is unknown, or
            `check_home` does not allow this home folder to read the sources.
    """
    if is_demo := is_demo or (home is not None and "sources_file" not in variables and holds_demo(home)):
        variables = {**DEMO_VARIABLES, **variables}
    configuration = read_configuration(variables)
    if is_demo:
        configuration = replace(configuration, sources={}, is_own=False)
    home = (home or configuration.default_home).resolve()
    with ExitStack() as stack:
        stack.enter_context(locked(home))
        plain_home = stack.enter_context(plain_path(home))
        overrides = {"landing": str(plain_home / "landing"), **variables}
        bundle, scope = Bundle(PROJECT, overrides), configuration.scope
        root, account_key = bundle.variable("landing"), configuration.account_key
        locations = {"landing": root} | {entity: source.address for entity, source in configuration.sources.items()}
        for name, location in locations.items():
            if location.startswith("abfss://") and not account_key:
                raise CdpError(f"{name} {location} needs the secret 'storage_account_key': {_KEY_OF_LAKE}.")
        landing = Landing(root, account_key)
        accept_new_sources = bundle.variable("accept_new_sources").lower() == "true"
        sample = SourceAddress(SAMPLES, database=DEMO if is_demo else "")
        check_home(configuration, reading, home, landing, sample, accept_new_sources=accept_new_sources)
        samples = Samples()
        if reading and not configuration.is_own:
            fixtures = PROJECT / "fixtures"
            if is_demo:
                Shop().write(fixtures := plain_home / "sources" / DEMO)
            samples = stack.enter_context(serve_samples(fixtures, plain_home))
            for entity, contract in ENTITIES.items():
                landing.remember_source(contract.source, entity, sample)
        bundle = Bundle(PROJECT, overrides | samples.variables)
        of_home = {(scope, key): text for key, text in (samples.secrets | read_erasure_key(home)).items()}
        secrets = SecretStore(PROJECT / SECRETS_FILE, of_home)
        spark = stack.enter_context(
            open_session(engine, plain_home, bundle.variable("catalog"), bundle.schemas(), root, account_key)
        )
        notebooks = Workspace(spark, secrets, {})
        yield LocalWorkspace(home, bundle, landing, notebooks, has_sample_sources=bool(samples.variables))


@contextmanager
def plain_path(home: Path) -> Iterator[Path]:
    """Yield a path of a home folder that every engine reads as it is: the folder itself, or a link to it.

    Engines read some characters of a path as patterns or escapes: a folder `[b]` would seem to be empty, and the tables
    of a folder `a b` would be written into a folder `a%20b`.

    Args:
        home: Folder of the local workspace.
    """
    if _PLAIN_PATH.fullmatch(str(home)):
        yield home
        return
    with TemporaryDirectory(prefix="cdp-") as folder:
        link = Path(folder) / "home"
        link.symlink_to(home)
        try:
            yield link
        except CdpError as error:
            raise CdpError(str(error).replace(str(link), str(home))) from error


def other_users() -> list[str]:
    """Return the names of the other people who can log in to this machine."""
    return sorted(
        account.pw_name
        for account in pwd.getpwall()
        if _FIRST_PERSON <= account.pw_uid != _NOBODY
        and account.pw_uid != os.getuid()
        and Path(account.pw_shell).name not in _NO_LOGIN
    )


def _make_private(home: Path) -> None:
    """Let only its owner enter a home folder.

    A folder that others use too, such as /tmp or the root of a disk, is left as it is. The files that `cdp` writes into
    it are private, because `main` sets the umask.
    """
    status, names = home.stat(), {entry.name for entry in home.iterdir()}
    is_shared = status.st_uid != os.getuid() or status.st_mode & stat.S_ISVTX or home.is_mount() or home == Path.home()
    if not is_shared and (not names or names & {"landing", "warehouse"}):
        home.chmod(0o700)


@contextmanager
def locked(home: Path) -> Iterator[None]:
    """Lock a home folder, so that no other `cdp` process can use it, and let only its owner enter it.

    Args:
        home: Folder of the local workspace.

    Raises:
        CdpError: Another process uses the home folder, or the folder can't be written.
    """
    lock = FileLock(home / ".lock", blocking=False)
    try:
        home.mkdir(parents=True, exist_ok=True)
        _make_private(home)
        lock.acquire()
    except Timeout:
        raise CdpError(
            f"{home} is in use by another cdp process: wait until that process has ended, or use another --home."
        ) from None
    except OSError as error:
        raise CdpError(f"{home} can't be written ({error.strerror}): use another --home.") from None
    try:
        yield
    finally:
        lock.release()
