"""Tests that a damaged file never becomes a wrong figure.

Each case damages one file, chosen by a seed, and runs the job. The run either gives the figures of an undamaged home,
or it fails with a message that names the file. After the file is restored, the next run gives the right figures.
"""

from __future__ import annotations

import random
import shutil
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable

from cdp_lib.contracts.bronze import EVENTS_BRONZE, TRANSACTIONS_BRONZE
from cdp_lib.errors import CdpError
from cdp_lib.landing import Landing
from cdp_lib.source_address import SourceAddress
from cdp_lib.sources_file import read_sources
from cdp_local.checksums import check_files, record_files
from cdp_local.workspace import PROJECT
from effort import IS_TORTURE, SEEDS

from .commands import MART, SELECTED, Ended, Gold, cdp, gold_of
from .corruption import Damage, damage, with_fault

CASES, CASES_OF_WHOLE_JOB = (500, 25) if IS_TORTURE else (3 * SEEDS, 1)
WHOLE_JOB = ("--param", "ingest=false", "--param", "fit_models=false")
FULL_REFRESH = ("--param", "full_refresh=true")
WITH_CHECKPOINT = ("table_state_ops", "retails_silver", "customers_silver", MART)

pytestmark = pytest.mark.first_engine


@dataclass(frozen=True)
class Prepared:
    """A home folder with a batch that is not loaded yet.

    Attributes:
        home: The home folder. Tests must not change it.
        arguments: Arguments of `cdp run` that load the batch.
        before: Gold tables before the batch is loaded.
        after: Gold tables after the batch is loaded by a run without full refresh, and with full refresh.
    """

    home: Path
    arguments: tuple[str, ...]
    before: Gold
    after: dict[bool, Gold]

    def run(self, home: Path, *, is_full: bool = False) -> Ended:
        """Load the batch into a copy of the home folder."""
        return cdp("run", "--home", home, *self.arguments, *(FULL_REFRESH if is_full else ()))


def land_more_sales(landing: Landing, at: datetime) -> None:
    """Land a snapshot of the transactions in which each customer buys one piece more."""
    source, entity = TRANSACTIONS_BRONZE.source, TRANSACTIONS_BRONZE.entity
    latest = landing.find_latest_batch(source, entity)
    assert latest
    rows = pa.concat_tables([pq.read_table(landing.path_of(latest, file.name)) for file in latest.files])
    more = pa.array([str(int(number) + 1) for number in rows["quantity"].to_pylist()])
    changed = rows.set_column(rows.schema.get_field_index("quantity"), "quantity", more)
    with landing.extraction(source, f"{at:%Y%m%dT%H%M%SZ}-more", at).new_batch(entity) as batch:
        with batch.open_data("part-00000.parquet", "parquet") as file:
            pq.write_table(changed, file)
        batch.add(changed.num_rows, changed.column_names)


def prepare(home: Path, *arguments: str) -> Prepared:
    """Load another batch, land a further one, and load it into two copies of the home folder."""
    now, landing = datetime.now(UTC), Landing(str(home / "landing"))
    prepared = Prepared(home, arguments, {}, {})
    land_more_sales(landing, now + timedelta(minutes=1))
    assert prepared.run(home).code == 0
    for name in WITH_CHECKPOINT:
        DeltaTable(home / "warehouse" / "sales" / name).create_checkpoint()
        record_files(home / "warehouse" / "sales" / name)
    landing.remove_batches(EVENTS_BRONZE.source, EVENTS_BRONZE.entity, [])  # writes the list of landed files
    prepared.before.update(gold_of(home))
    land_more_sales(landing, now + timedelta(minutes=2))
    for is_full in (False, True):
        reference = Path(shutil.copytree(home, home.with_name(f"reference-{is_full}")))
        assert prepared.run(reference, is_full=is_full).code == 0
        prepared.after[is_full] = gold_of(reference)
    assert prepared.before[MART] != prepared.after[False][MART]
    return prepared


@pytest.fixture(scope="module")
def prepared(small_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    return prepare(Path(shutil.copytree(small_home, tmp_path_factory.mktemp("prepared") / "home")), *SELECTED)


@pytest.fixture(scope="module")
def prepared_whole(whole_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    return prepare(Path(shutil.copytree(whole_home, tmp_path_factory.mktemp("prepared") / "home")), *WHOLE_JOB)


@pytest.mark.parametrize("seed", range(CASES))
def test_damaged_file_is_named_or_does_no_harm(prepared: Prepared, tmp_path: Path, seed: int) -> None:
    damage_run_and_repair(prepared, tmp_path / "home", random.Random(seed))


@pytest.mark.parametrize("seed", range(CASES_OF_WHOLE_JOB))
def test_damaged_file_is_named_by_the_whole_job(prepared_whole: Prepared, tmp_path: Path, seed: int) -> None:
    damage_run_and_repair(prepared_whole, tmp_path / "home", random.Random(seed))


def damage_run_and_repair(prepared: Prepared, home: Path, chance: random.Random) -> None:
    shutil.copytree(prepared.home, home)
    done, is_full = damage(home, chance), chance.random() < 0.5
    case = f"{done.kind} {done.target} {done.path.relative_to(home)}, silent: {done.is_silent}, full: {is_full}"
    after, is_found_on_demand = prepared.after[is_full], is_silent_damage_found(home, done)

    ended = prepared.run(home, is_full=is_full)

    if ended.code == 0:
        assert ended.errors == "", case
        # A changed byte in a file that kept its size and its times is found by `cdp verify`, which reads every file.
        if gold_of(home) != after:
            assert is_found_on_demand, case
            return
    else:
        assert_names(ended, done, case)
        for name, rows in gold_of(home, done.table).items():
            assert rows in (prepared.before[name], after[name]), f"{name}: {case}"
    done.repair()
    repaired = prepared.run(home, is_full=is_full)
    assert (repaired.code, repaired.errors) == (0, ""), case
    assert gold_of(home) == after, case


def is_silent_damage_found(home: Path, done: Damage) -> bool:
    if done.is_silent:
        with pytest.raises(CdpError, match=done.path.name):
            check_files(home / "warehouse" / "sales" / done.table, reads_all=True)
    return done.is_silent


def assert_names(ended: Ended, done: Damage, case: str) -> None:
    """Check that a command failed with one line that names the damaged file."""
    assert ended.code == 1, case
    lines = ended.errors.splitlines()
    assert len(lines) == 1 and lines[0].startswith("error: "), f"{case}\n{ended.errors}"
    assert done.is_named_in(lines[0]), f"{case}\n{ended.errors}"


# Small files, which are read as a whole


def spoiled(content: bytes, chance: random.Random) -> bytes:
    """Return the content with some changed bytes, cut off, or doubled."""
    kind = chance.randrange(6)
    if kind == 0:
        return content[: chance.randrange(len(content))]
    return content + content if kind == 1 else with_fault(content, chance)


def refusal_of(error: CdpError, name: str) -> bool:
    return name in str(error) and len(str(error).splitlines()) == 1


@pytest.mark.parametrize("seed", range(5))
def test_damaged_manifest_is_never_read_as_another_manifest(small_home: Path, tmp_path: Path, seed: int) -> None:
    chance, refused = random.Random(seed), 0
    paths = sorted(small_home.glob("landing/*/*/*/*/manifest.json"))
    for path in paths * 10:
        place = path.relative_to(small_home)
        source, entity, _, batch_id = place.parts[1:5]
        whole = Landing(str(small_home / "landing")).find_batch(source, entity, batch_id)
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / place).write_bytes(spoiled(path.read_bytes(), chance))
        try:
            assert Landing(str(tmp_path / "landing")).find_batch(source, entity, batch_id) == whole
        except CdpError as error:
            assert refusal_of(error, str(place))
            refused += 1
    assert refused > len(paths)


@pytest.mark.parametrize("seed", range(5))
def test_damaged_list_of_landed_files_is_refused(small_home: Path, tmp_path: Path, seed: int) -> None:
    chance, refused = random.Random(seed), 0
    source, entity = EVENTS_BRONZE.source, EVENTS_BRONZE.entity
    landing = Landing(str(shutil.copytree(small_home / "landing", tmp_path / "landing")))
    landing.remove_batches(source, entity, [])
    [path] = Path(landing.root).rglob("landed_files.json")
    whole, content = landing.batches_of_files(source, entity), path.read_bytes()
    for _ in range(50):
        path.write_bytes(spoiled(content, chance))
        try:
            assert landing.batches_of_files(source, entity) == whole
        except CdpError as error:
            assert refusal_of(error, str(path))
            refused += 1
    assert refused > 10


@pytest.mark.parametrize("seed", range(5))
def test_damaged_address_of_a_source_is_never_taken_for_the_source(tmp_path: Path, seed: int) -> None:
    chance, landing = random.Random(seed), Landing(str(tmp_path))
    address = SourceAddress("postgresql", "db.example.com", "shop", "retail", "/products")
    landing.remember_source("database", "products", address)
    path = Path(landing.path_of_source("database", "products"))
    content = path.read_bytes()
    for _ in range(100):
        path.write_bytes(spoiled(content, chance))
        try:
            landing.check_source("database", "products", address, accept_new_sources=False)
            assert landing.find_source("database", "products") == address
        except CdpError as error:
            assert refusal_of(error, f"{tmp_path}/database/products")


@pytest.mark.parametrize("seed", range(5))
def test_damaged_file_of_sources_is_read_or_named(tmp_path: Path, seed: int) -> None:
    chance, path = random.Random(seed), tmp_path / "sources.yml"
    content = b"".join(
        line for line in (PROJECT / "sources.yml").read_bytes().splitlines(keepends=True) if not line.startswith(b"#")
    )
    names = ("customers_api_url", "crm_url", "database_schema", "events_path", "marketing_spend_path")
    variables = dict.fromkeys((*names, "exchange_rates_path", "consents_path"), "x")
    for _ in range(100):
        path.write_bytes(spoiled(content, chance))
        try:
            read_sources(str(path), variables)
        except CdpError as error:
            assert refusal_of(error, str(path))
