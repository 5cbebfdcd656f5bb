"""The sources of a local run: which are configured, and whether a home may read them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from cdp_lib.errors import CdpError
from cdp_lib.source_address import SAMPLES, SourceAddress
from cdp_lib.sources_file import ENTITIES, EntitySource, read_sources
from cdp_local.bundle import PROJECT, Bundle
from cdp_local.dbutils import SecretStore, secret_variable
from cdp_local.demo import DEMO
from cdp_local.job_settings import new_run_start, setting_values
from cdp_local.samples import DATABASE_SECRET

if TYPE_CHECKING:
    from cdp_lib.landing import Landing

SECRETS_FILE = ".cdp-secrets.yml"
DEFAULT_SCOPE = "cdp"
OWN_HOME, SAMPLES_HOME = Path(".cdp"), Path(".cdp-samples")
REQUIRED_ENTITIES = ("customers", "products", "stores", "transactions")
"""Entities that sales figures need."""

_MARK_OF_EARLIER_SAMPLES = Path("sources", "all-are-samples")
"""File that earlier versions wrote into a home in which all sources were samples."""


@dataclass(frozen=True)
class Configuration:
    """The sources that are configured on this machine.

    Attributes:
        sources_file: Path of the file of sources.
        scope: Secret scope.
        secrets: Secrets in the scope, by key.
        sources: Source of each configured entity. An entity from a database is configured if the secret with the URL of
            the database exists. Any other entity is configured if its source has an address.
        settable: All sources in the file of sources, for messages. Each value of a variable is replaced by the text
            `--var NAME=…`, which tells the user how to set it.
        is_own: Whether a user has configured a source. If not, a run uses the samples of all sources.
    """

    sources_file: str
    scope: str
    secrets: Mapping[str, str] = field(repr=False)
    sources: Mapping[str, EntitySource]
    settable: Mapping[str, EntitySource]
    is_own: bool

    @classmethod
    def read(cls, bundle: Bundle, secrets: SecretStore, *, has_own_file: bool) -> Configuration:
        """Return the configured sources.

        Args:
            bundle: The bundle with the variables of the run.
            secrets: Secrets of the user.
            has_own_file: Whether the user has named a file of sources.

        Raises:
            CdpError: The file of sources can't be read.
        """
        scope = bundle.variable("secret_scope")
        in_scope = {secret.key: secrets.get(scope, secret.key) for secret in secrets.list(scope)}
        settings = setting_values(bundle.job("cdp_refresh"), {}, new_run_start())
        path = settings["sources_file"]
        declared = read_sources(path, settings).entities
        sources = {
            entity: source
            for entity, source in declared.items()
            if (in_scope.get(source.address) if source.kind == "database" else source.address)
        }
        databases = {source.address for source in declared.values() if source.kind == "database"}
        return cls(
            path,
            scope,
            in_scope,
            sources,
            read_sources(path, {name: f"--var {name}=…" for name in settings}).entities,
            is_own=bool(sources) or has_own_file or scope != DEFAULT_SCOPE or not databases <= {DATABASE_SECRET},
        )

    @property
    def account_key(self) -> str | None:
        """Key of the storage account of the lake, if it is configured."""
        return self.secrets.get("storage_account_key") or None

    @property
    def default_home(self) -> Path:
        """Home folder of a command without `--home`. Sample data and a user's own data have separate homes."""
        return OWN_HOME if self.is_own else SAMPLES_HOME

    def address_of(self, source: EntitySource) -> SourceAddress:
        """Return the address of a configured source.

        Raises:
            CdpError: The URL of the database is invalid.
        """
        # This module imports the clients of all sources, which few commands need.
        from cdp_lib import ingest

        return ingest.address_of(source, self.secrets.get(source.address, ""))

    def how_to_set(self, entity: str) -> str:
        """Return how a user sets the source of an entity, for messages."""
        source = self.settable.get(entity)
        if not source or not source.address:
            return f"add it to {self.sources_file}"
        if source.kind == "database":
            return f"set the environment variable {secret_variable(self.scope, source.address)}"
        return f"set {source.address}"


def read_configuration(variables: Mapping[str, str]) -> Configuration:
    """Return the sources that are configured on this machine.

    Args:
        variables: Values of bundle variables, by name. They override the defaults.

    Raises:
        CdpError: A variable is unknown, or the secrets file or the file of sources can't be read.
    """
    secrets = SecretStore(PROJECT / SECRETS_FILE, {})
    return Configuration.read(Bundle(PROJECT, variables), secrets, has_own_file="sources_file" in variables)


def holds_demo(home: Path) -> bool:
    """Return whether a home folder has the data of the demo shop."""
    from cdp_lib.landing import Landing

    address = Landing(str(home / "landing"), None).find_source(ENTITIES["customers"].source, "customers")
    return address == SourceAddress(SAMPLES, database=DEMO)


def check_home(
    configuration: Configuration,
    reading: Collection[str],
    home: Path,
    landing: Landing,
    sample: SourceAddress,
    *,
    accept_new_sources: bool,
) -> None:
    """Raise an error if a run must not read its sources into a home. This function reads no source.

    Args:
        configuration: The configured sources.
        reading: The entities whose sources the run reads.
        home: Home folder of the run.
        landing: Landing of the home folder.
        sample: Address of the sample sources that a run without own sources reads.
        accept_new_sources: Whether a source may have another address than the one that the home remembers.

    Raises:
        CdpError: A source is not set. Or a source has another address than the home remembers, and new sources are not
            accepted. Or sample data, data of the demo and own data would mix.
    """
    if not reading:
        return
    remembered = {entity: landing.find_source(contract.source, entity) for entity, contract in ENTITIES.items()}
    own = {entity: address for entity, address in remembered.items() if address and address.kind != SAMPLES}
    is_marked = (home / _MARK_OF_EARLIER_SAMPLES).exists()
    has_samples = any(address and address.kind == SAMPLES for address in remembered.values()) or (is_marked and not own)
    if configuration.is_own and has_samples:
        new_home = home.with_name(OWN_HOME.name if home.name == SAMPLES_HOME.name else f"{home.name}-own")
        raise CdpError(
            f"{home} holds sample data, but this run would read your own sources: nothing was read. Use another home:"
            f" cdp run --home {new_home} …"
        )
    others = [address for address in remembered.values() if address and address.kind == SAMPLES and address != sample]
    if others and not configuration.is_own:
        raise CdpError(
            f"{home} holds {others[0]}, and this run would add {sample}: nothing was read. Use another --home, or"
            " delete the folder."
        )
    unset = [entity for entity in reading if entity not in configuration.sources]
    if forgotten := {entity: own[entity] for entity in unset if entity in own}:
        raise CdpError(_forgotten(forgotten, landing, configuration))
    if configuration.is_own:
        if required := [entity for entity in unset if entity in REQUIRED_ENTITIES]:
            advice = " and ".join(dict.fromkeys(configuration.how_to_set(entity) for entity in required))
            raise CdpError(f"No source for {', '.join(required)}: {advice}.")
        for entity in reading:
            if source := configuration.sources.get(entity):
                address = configuration.address_of(source)
                landing.check_source(source.contract.source, entity, address, accept_new_sources=accept_new_sources)
    elif not has_samples:
        landed = [
            entity
            for entity, contract in ENTITIES.items()
            if entity in own or landing.has_batches(contract.source, entity)
        ]
        if landed:
            raise CdpError(
                f"{landing.root} holds data of {', '.join(landed)}, and no source is set, so this run would add sample"
                " data to it: nothing was read. Set your sources, or use another --home."
            )


def _forgotten(forgotten: Mapping[str, SourceAddress], landing: Landing, configuration: Configuration) -> str:
    """Return the message for entities that an earlier run of this home has read, but for which no source is set now."""
    entities_by_advice = dict[str, list[str]]()
    for entity in forgotten:
        if entity in REQUIRED_ENTITIES:
            otherwise = "run with --param ingest=false to read no source"
        else:
            otherwise = f"delete {landing.path_of_source(ENTITIES[entity].source, entity)} to stop reading it"
        advice = f"if it is in another file of sources, add --sources FILE; if not, {configuration.how_to_set(entity)}"
        entities_by_advice.setdefault(f"{advice}, or {otherwise}", []).append(entity)
    lines = [
        f"No source for {', '.join(entities)}, which this home reads from"
        f" {', '.join(str(forgotten[entity]) for entity in entities)}: {advice}"
        for advice, entities in entities_by_advice.items()
    ]
    return f"{'; '.join(lines)}."
