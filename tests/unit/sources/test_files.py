import gzip
import json
import os
import re
import tracemalloc
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from urllib.parse import quote

import pytest

from cdp_lib.contracts.bronze import MARKETING_SPEND_BRONZE
from cdp_lib.contracts.table import BronzeContract
from cdp_lib.errors import CdpError
from cdp_lib.landing import Landing, Manifest
from cdp_lib.sources import files
from cdp_lib.sources.files import land_exchange_rates, land_files

EVENT = b'{"event_id": "e1", "channel": "web"}\n'
OTHER = b'{"event_id": "e2", "email": "b@example.com"}\n'
MONTH = b"month,channel,amount\n2026-01,search,10.50\n"
RATES = b"month,currency,rate\n2026-01,USD,1\n2026-01,EUR,1.08\n2026-02,EUR,1.09\n2026-02,USD,1.0\n"

# The contract declares no columns, so each test may use different columns.
EVENTS = BronzeContract("events_bronze", "bronze", "", (), source="source", entity="events")

Land = Callable[..., list[Manifest]]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "source files"
    folder.mkdir()
    return folder


@pytest.fixture
def land_events(landing: Landing, folder: Path) -> Land:
    def land(batch_id: str = "20260131T000001Z-1", path: object = folder) -> list[Manifest]:
        extraction = landing.extraction("source", batch_id, datetime(2026, 1, 31, tzinfo=UTC))
        return land_files(extraction, EVENTS, str(path), account_key=None)

    return land


@pytest.fixture
def land_rates(landing: Landing, folder: Path) -> Land:
    def land(
        batch_id: str = "20260131T000001Z-1", name: str = "rates.csv", reporting_currency: str = "USD"
    ) -> list[Manifest]:
        extraction = landing.extraction("source", batch_id, datetime(2026, 1, 31, tzinfo=UTC))
        path = str(folder / name)
        return land_exchange_rates(extraction, EVENTS, path, reporting_currency=reporting_currency, account_key=None)

    return land


def refusal(land: Land, *arguments: object, **options: object) -> str:
    with pytest.raises(CdpError) as refused:
        land(*arguments, **options)
    message = str(refused.value)
    assert len(message.splitlines()) == 1
    assert len(message) < 400
    return message


def names_of(batches: list[Manifest]) -> list[str]:
    return [re.fullmatch("data/file=(.*)/part-00000.jsonl", file.name)[1] for batch in batches for file in batch.files]


def data_of(landed: Path, name: str, batch_id: str = "20260131T000001Z-1") -> bytes:
    return (landed / "events" / "2026-01-31" / batch_id / "data" / f"file={name}" / "part-00000.jsonl").read_bytes()


def records_of(landed: Path, name: str, batch_id: str = "20260131T000001Z-1") -> list[object]:
    return [json.loads(line) for line in data_of(landed, name, batch_id).splitlines()]


def received_of(landed: Path, batch_id: str = "20260131T000001Z-1") -> dict[str, bytes]:
    received = landed / "events" / "2026-01-31" / batch_id / "received"
    return {str(path.relative_to(received)): path.read_bytes() for path in received.rglob("*") if path.is_file()}


def write(path: Path, content: bytes, seconds: float = 0.0) -> None:
    """Write a file. Its modification time is given in seconds after the start of 1 January 2026."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    time = datetime(2026, 1, 1, tzinfo=UTC).timestamp() + seconds
    os.utime(path, (time, time))


def test_a_file_is_landed_unchanged_with_its_origin(folder, land_events, landed) -> None:
    write(folder / "web" / "2026-01.jsonl", EVENT)
    write(folder / "app.ndjson", OTHER + EVENT)
    [manifest] = land_events()
    assert (manifest.load, manifest.rows, manifest.format) == ("files", 3, "jsonl")
    assert manifest.columns == ("channel", "email", "event_id")
    app, web = manifest.files
    assert app.name == "data/file=app.ndjson/part-00000.jsonl"
    # The name of a subfolder is encoded into the name, because engines expect one folder level per partition column.
    assert web.name == "data/file=web%252F2026-01.jsonl/part-00000.jsonl"
    assert web.origin.name == "web/2026-01.jsonl"
    assert web.origin.modified_at == "2026-01-01T00:00:00+00:00"
    assert (web.origin.bytes, web.origin.checksum) == (web.bytes, web.checksum)
    assert data_of(landed, "app.ndjson") == OTHER + EVENT
    assert received_of(landed) == {}


def test_the_next_run_lands_only_what_is_new(folder, land_events) -> None:
    write(folder / "a.jsonl", EVENT)
    land_events("20260131T000001Z-1")
    assert land_events("20260131T000002Z-2") == []
    write(folder / "b.jsonl", OTHER)
    assert names_of(land_events("20260131T000003Z-3")) == ["b.jsonl"]
    assert land_events("20260131T000004Z-4") == []


def test_a_changed_file_is_landed_again_whole_under_its_name(folder, land_events, landed) -> None:
    write(folder / "a.jsonl", EVENT)
    write(folder / "b.jsonl", OTHER)
    land_events("20260131T000001Z-1")
    write(folder / "a.jsonl", EVENT + b'{"event_id": "e3"}\n', seconds=1)
    assert names_of(land_events("20260131T000002Z-2")) == ["a.jsonl"]
    assert [record["event_id"] for record in records_of(landed, "a.jsonl", "20260131T000002Z-2")] == ["e1", "e3"]
    assert land_events("20260131T000003Z-3") == []


def test_a_file_that_is_changed_back_is_landed_again(folder, land_events) -> None:
    for second, (batch_id, content) in enumerate(
        [("20260131T000001Z-1", EVENT), ("20260131T000002Z-2", OTHER), ("20260131T000003Z-3", EVENT)]
    ):
        write(folder / "a.jsonl", content, second)
        assert names_of(land_events(batch_id)) == ["a.jsonl"]


def test_a_file_that_is_only_touched_is_not_landed_again(folder, land_events) -> None:
    write(folder / "a.jsonl", EVENT)
    land_events("20260131T000001Z-1")
    write(folder / "a.jsonl", EVENT, seconds=1)
    assert land_events("20260131T000002Z-2") == []


def test_the_same_content_under_another_name_is_landed_once(folder, land_events, landing) -> None:
    write(folder / "a.jsonl", EVENT)
    write(folder / "copy of a.jsonl", EVENT)
    assert names_of(land_events("20260131T000001Z-1")) == ["a.jsonl"]
    write(folder / "later copy.jsonl", EVENT)
    (folder / "a.jsonl").rename(folder / "renamed.jsonl")
    assert land_events("20260131T000002Z-2") == []


def test_a_copy_of_a_landed_file_is_not_read_again(folder, land_events) -> None:
    write(folder / "a.jsonl", EVENT)
    write(folder / "copy.jsonl", EVENT)
    land_events("20260131T000001Z-1")
    # Size and modification time stay the same: only a read would find the change.
    write(folder / "copy.jsonl", EVENT.replace(b"e1", b"e9"))
    assert land_events("20260131T000002Z-2") == []
    write(folder / "copy.jsonl", EVENT.replace(b"e1", b"e9"), seconds=1)
    assert names_of(land_events("20260131T000003Z-3")) == ["copy.jsonl"]


def test_a_copy_is_landed_when_its_original_changes(folder, land_events) -> None:
    write(folder / "a.jsonl", EVENT)
    write(folder / "copy.jsonl", EVENT)
    land_events("20260131T000001Z-1")
    write(folder / "a.jsonl", OTHER, seconds=1)
    assert names_of(land_events("20260131T000002Z-2")) == ["a.jsonl", "copy.jsonl"]
    assert land_events("20260131T000003Z-3") == []


def test_a_run_that_has_landed_is_not_repeated(folder, land_events) -> None:
    write(folder / "a.jsonl", EVENT)
    first = land_events("20260131T000001Z-1")
    write(folder / "b.jsonl", OTHER)
    assert land_events("20260131T000001Z-1") == first


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.jsonl.gz", gzip.compress(EVENT + OTHER)),
        ("a.jsonl", gzip.compress(EVENT) + gzip.compress(OTHER)),
        ("a.json", b"\xef\xbb\xbf" + EVENT + OTHER),
        ("a.JSONL.GZ", gzip.compress(b"\xef\xbb\xbf" + EVENT + OTHER)),
        ("a.jsonl", (EVENT + OTHER).replace(b"\n", b"\r\n")),
        ("a.jsonl", b"\n" + EVENT + b" \n\r\n" + OTHER),
        ("a.jsonl", (EVENT + OTHER).removesuffix(b"\n")),
    ],
    ids=[
        "gzip",
        "gzip by content",
        "BOM",
        "BOM in gzip",
        "CRLF",
        "blank lines",
        "no last newline",
    ],
)
def test_files_that_are_not_plain_json_lines_are_also_stored_as_received(
    folder, land_events, landed, name: str, content: bytes
) -> None:
    write(folder / name, content)
    [manifest] = land_events()
    assert manifest.rows == 2
    assert data_of(landed, name) == EVENT + OTHER
    assert received_of(landed) == {name: content}


def test_a_carriage_return_between_tokens_does_not_end_a_record(folder, land_events, landed) -> None:
    write(folder / "a.jsonl", b'{"event_id":\r"e1"}\n')
    land_events()
    assert data_of(landed, "a.jsonl") == b'{"event_id": "e1"}\n'


def test_a_line_that_is_not_utf8_becomes_a_separate_record(folder, land_events, landed) -> None:
    content = EVENT + '{"event_id": "é"}\n'.encode("latin-1") + OTHER
    write(folder / "a.jsonl", content)
    [manifest] = land_events()
    assert manifest.columns == ("channel", "email", "event_id")
    good, bad, other = records_of(landed, "a.jsonl")
    assert bad == {"_invalid_utf8": '{"event_id": "\\xe9"}'}
    assert [good["event_id"], other["event_id"]] == ["e1", "e2"]
    assert received_of(landed) == {"a.jsonl": content}


@pytest.mark.parametrize("line", [b'{"event_id": ', b"[1, 2]", b"text", b'{"a": 1}{"b": 2}', b"[" * 5000])
def test_a_line_that_is_not_a_record_is_landed_unchanged(folder, land_events, landed, line: bytes) -> None:
    write(folder / "a.jsonl", line + b"\n" + EVENT)
    [manifest] = land_events()
    assert data_of(landed, "a.jsonl") == line + b"\n" + EVENT
    assert (manifest.rows, manifest.columns) == (2, ("channel", "event_id"))


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b'[{"event_id": "e1"}, {"event_id": "e2"}]\n', "a JSON array of objects"),
        (b'\n [ \n  {"event_id": "e1"}\n]\n', "a JSON array of objects"),
        (b'\xef\xbb\xbf[\n{\n"event_id": "e1"\n}\n]\n', "a JSON array of objects"),
        (b'{\n  "event_id": "e1"\n}\n', "a JSON object over several lines"),
    ],
)
def test_a_file_that_is_one_json_text_is_an_error_that_names_it(
    folder, land_events, landed, content: bytes, found: str
) -> None:
    write(folder / "a.jsonl", EVENT)
    write(folder / "b.json", content)
    message = refusal(land_events)
    assert f"File {folder}/b.json begins with {found}, but one JSON object per line is expected" in message
    assert not list(landed.rglob("*.json*"))


def test_a_field_of_ten_megabytes_is_landed(folder, land_events, landed) -> None:
    long = b"x" * 10_000_000
    write(folder / "a.jsonl", b'{"event_id": "' + long + b'"}\n')
    write(folder / "a.csv", b'month,channel\n2026-01,"' + long + b'"\n')
    land_events()
    assert [len(record["event_id"]) for record in records_of(landed, "a.jsonl")] == [10_000_000]
    assert [len(record["channel"]) for record in records_of(landed, "a.csv")] == [10_000_000]


def test_a_line_that_is_too_long_is_an_error_that_names_the_file(folder, land_events, landed, monkeypatch) -> None:
    monkeypatch.setattr(files, "MAX_RECORD_LENGTH", 1000)
    write(folder / "array.json", b"[" + b'{"event_id": "e1"}, ' * 1000)
    message = refusal(land_events)
    assert "array.json has a line of more than 1000 bytes" in message
    assert not list(landed.rglob("*.json*"))


@pytest.mark.parametrize("cut", [12, -4], ids=["early", "in the checksum"])
def test_a_truncated_gzip_lands_nothing_and_the_whole_one_lands_all(folder, land_events, landed, cut: int) -> None:
    whole = gzip.compress(EVENT * 100)
    write(folder / "a.jsonl", OTHER)
    write(folder / "b.jsonl.gz", whole[:cut])
    message = refusal(land_events)
    assert f"{folder}/b.jsonl.gz can't be decompressed" in message
    assert not list(landed.rglob("manifest.json"))
    write(folder / "b.jsonl.gz", whole, seconds=1)
    assert land_events()[0].rows == 101


def test_a_file_that_is_gzip_only_by_name_is_an_error_that_names_it(folder, land_events) -> None:
    write(folder / "a.jsonl.gz", EVENT)
    assert f"{folder}/a.jsonl.gz can't be decompressed" in refusal(land_events)


def test_a_file_that_disappears_before_it_is_read_is_an_error_that_names_it(
    folder, land_events, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(folder / "a.jsonl", EVENT)
    listed = files._Folder.files

    def list_then_remove(source: files._Folder, names: re.Pattern[str]) -> list[object]:
        found = listed(source, names)
        (folder / "a.jsonl").unlink()
        return [*found]

    monkeypatch.setattr(files._Folder, "files", list_then_remove)
    assert f"{folder}/a.jsonl can't be read" in refusal(land_events)


def test_hidden_and_unfinished_files_are_ignored(folder, land_events) -> None:
    write(folder / "a.jsonl", EVENT)
    for name in (
        ".b.jsonl",
        "_c.jsonl",
        "_temporary/d.jsonl",
        "e.jsonl.part",
        "f.jsonl.tmp",
        "README.md",
        "g.jsonl.crc",
    ):
        write(folder / name, name.encode())
    assert names_of(land_events()) == ["a.jsonl"]


def test_a_missing_folder_and_a_first_run_without_files_are_errors(folder, land_events) -> None:
    assert f"Folder {folder} has no events files" in refusal(land_events)
    assert f"Folder {folder}/nothing does not exist" in refusal(land_events, path=folder / "nothing")
    write(folder / "a.jsonl", EVENT)
    land_events()
    (folder / "a.jsonl").unlink()
    assert land_events("20260131T000002Z-2") == []
    assert "does not exist" in refusal(land_events, "20260131T000003Z-3", path=folder / "nothing")


def test_an_empty_file_is_landed_once_it_has_records(folder, land_events) -> None:
    write(folder / "a.jsonl", EVENT)
    write(folder / "b.jsonl", b"")
    write(folder / "c.jsonl", b"\n")
    assert names_of(land_events("20260131T000001Z-1")) == ["a.jsonl"]
    assert land_events("20260131T000002Z-2") == []
    write(folder / "b.jsonl", OTHER, seconds=1)
    assert names_of(land_events("20260131T000003Z-3")) == ["b.jsonl"]


def test_a_file_that_loses_its_records_is_an_error(folder, land_events) -> None:
    write(folder / "a.jsonl", EVENT)
    land_events("20260131T000001Z-1")
    write(folder / "a.jsonl", b"", seconds=1)
    assert f"{folder}/a.jsonl had records before, but has none now" in refusal(land_events, "20260131T000002Z-2")


def test_files_with_similar_names_do_not_replace_each_other(folder, land_events, landed) -> None:
    names = [
        "a.json",
        "a.json.jsonl",
        "a.jsonl",
        "a.jsonl.gz",
        "b/a.jsonl",
        "b-a.jsonl",
        "ä.jsonl",
        "é.jsonl",
        "a [1].jsonl",
    ]
    for number, name in enumerate(names):
        content = b'{"event_id": "%d"}\n' % number
        write(folder / name, gzip.compress(content) if name.endswith(".gz") else content)
    [manifest] = land_events()
    by_origin = {file.origin.name: file.name for file in manifest.files}
    assert set(by_origin) == set(names)
    assert len(set(by_origin.values())) == len(names)
    for number, name in enumerate(names):
        assert json.loads((landed / "events" / "2026-01-31" / "20260131T000001Z-1" / by_origin[name]).read_bytes()) == {
            "event_id": str(number)
        }


@pytest.mark.parametrize("name", ["a b.jsonl", "a%20b.jsonl", "a[1]*?.jsonl", "März/{a}.jsonl", "a#b:c.jsonl"])
def test_a_data_file_has_a_name_that_every_engine_takes_literally(folder, land_events, name: str) -> None:
    write(folder / name, EVENT)
    [landed_name] = names_of(land_events("20260131T000001Z-1"))
    assert landed_name == quote(quote(name, safe=""), safe="")
    write(folder / name, OTHER, seconds=1)
    assert names_of(land_events("20260131T000002Z-2")) == [landed_name]


def test_landed_files_of_many_batches_are_summarized_in_one_manifest(folder, land_events, landing: Landing) -> None:
    days = [f"202601{day:02}T000000Z-{day}" for day in range(1, 31)] + [
        f"202602{day:02}T000000Z-{day}" for day in range(1, 26)
    ]
    for number, name in enumerate(days):
        write(folder / f"{number}.jsonl", b'{"event_id": "%d"}\n' % number, seconds=number)
        land_events(name)
    summary = json.loads(Path(landing.root, "source", "events", "landed_files.json").read_text())
    assert summary["batch_id"] == days[50]
    for name in days[:40]:
        (Path(landing.path_of(landing.find_batch("source", "events", name), "manifest.json"))).write_text("broken")
    write(folder / "0.jsonl", b'{"event_id": "0", "channel": "app"}\n', seconds=100)
    assert names_of(land_events("20260227T000000Z-1")) == ["0.jsonl"]
    assert land_events("20260228T000000Z-1") == []


def test_one_file_can_be_named_instead_of_a_folder(folder, land_events) -> None:
    write(folder / "a.jsonl", EVENT)
    write(folder / "b.jsonl", OTHER)
    assert names_of(land_events(path=folder / "a.jsonl")) == ["a.jsonl"]


@pytest.mark.parametrize("pack", [bytes, partial(gzip.compress, compresslevel=0)], ids=["plain", "gzip"])
def test_memory_does_not_grow_with_the_file(folder, land_events, pack: Callable[[bytes], bytes]) -> None:
    line = b'{"event_id": "%d", "text": "' + b"x" * 20_000 + b'"}\n'
    write(folder / "a.jsonl", pack(b"".join(line % number for number in range(2_000))))
    tracemalloc.start()
    try:
        assert land_events()[0].rows == 2_000
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 8_000_000


def test_a_csv_row_is_landed_as_text_and_the_file_as_received(folder, land_events, landed) -> None:
    content = b'month,channel,amount\n2026-01,search,010.50\n2026-01,"a ""b"",\nc",\n'
    write(folder / "2026-01.csv", content)
    [manifest] = land_events()
    assert (manifest.load, manifest.rows, manifest.columns) == ("files", 2, ("amount", "channel", "month"))
    assert records_of(landed, "2026-01.csv") == [
        {"month": "2026-01", "channel": "search", "amount": "010.50"},
        {"month": "2026-01", "channel": 'a "b",\nc', "amount": None},
    ]
    assert received_of(landed) == {"2026-01.csv": content}


@pytest.mark.parametrize(
    "content",
    [
        b"\xef\xbb\xbf" + MONTH,
        MONTH.replace(b"\n", b"\r\n"),
        MONTH.replace(b"\n", b"\r"),
        MONTH.replace(b",", b";"),
        MONTH.replace(b",", b" , ", 2),
        b"\r\n" + MONTH + b"\r\n",
        b'"month","channel","amount"\n"2026-01","search","10.50"',
        gzip.compress(MONTH),
    ],
    ids=["BOM", "CRLF", "CR", "semicolons", "blanks in the header", "blank lines", "quotes", "gzip"],
)
def test_csv_is_read_in_every_usual_encoding_and_layout(folder, land_events, landed, content: bytes) -> None:
    write(folder / "a.csv", content)
    land_events()
    assert records_of(landed, "a.csv") == [{"month": "2026-01", "channel": "search", "amount": "10.50"}]


def test_a_csv_row_that_does_not_fit_the_header_is_landed_as_a_list_of_cells(folder, land_events, landed) -> None:
    write(folder / "a.csv", MONTH + b"2026-01,search\n2026-01,a,1,2\n2026-01,caf\xe9,1\n")
    [manifest] = land_events()
    assert manifest.columns == ("amount", "channel", "month")
    assert records_of(landed, "a.csv")[1:] == [
        {"_row": ["2026-01", "search"]},
        {"_row": ["2026-01", "a", "1", "2"]},
        {"_row": ["2026-01", "caf\\xe9", "1"]},
    ]


@pytest.mark.parametrize(
    "content",
    [b"month,channel,month\n1,2,3\n", b"month,,amount\n1,2,3\n", "Währung\n1\n".encode("latin-1")],
    ids=["a name twice", "a column without a name", "no UTF-8"],
)
def test_a_csv_file_without_a_usable_header_lands_nothing(folder, land_events, landed, content: bytes) -> None:
    write(folder / "good.csv", MONTH)
    write(folder / "worse.csv", content)
    assert f"{folder}/worse.csv is not a header" in refusal(land_events)
    assert not list(landed.rglob("manifest.json"))


@pytest.mark.parametrize("content", [b"", b"\n\n", MONTH.splitlines(keepends=True)[0]], ids=["", "blank", "header"])
def test_a_csv_file_without_rows_is_landed_when_it_has_rows(folder, land_events, content: bytes) -> None:
    write(folder / "good.csv", MONTH)
    write(folder / "later.csv", content)
    assert names_of(land_events("20260131T000001Z-1")) == ["good.csv"]
    write(folder / "later.csv", MONTH + b"2026-02,mail,1\n", seconds=1)
    assert names_of(land_events("20260131T000002Z-2")) == ["later.csv"]


def test_csv_columns_match_the_contract_in_any_case(folder, landing, landed) -> None:
    def land(batch_id: str) -> list[Manifest]:
        extraction = landing.extraction("marketing", batch_id, datetime(2026, 1, 31, tzinfo=UTC))
        return land_files(extraction, MARKETING_SPEND_BRONZE, str(folder), account_key=None)

    write(folder / "a.csv", b"Month,CHANNEL,campaign,amount,Note\n2026-01,search,brand,1,x\n")
    assert "a.csv has no column currency (its first line is 'Month,CHANNEL,campaign,amount,Note')" in refusal(
        land, "20260131T000001Z-1"
    )
    write(folder / "a.csv", b"Month;CHANNEL;campaign;amount;Note;Currency\n2026-01;search;brand;1;x;USD\n")
    [manifest] = land("20260131T000002Z-2")
    assert manifest.columns == ("Note", "amount", "campaign", "channel", "currency", "month")


def test_an_open_quote_is_an_error_that_names_file_and_line(folder, land_events, landed) -> None:
    write(folder / "a.csv", MONTH + b'2026-01,"search,1\n2026-01,mail,2\n')
    message = refusal(land_events)
    assert f"{folder}/a.csv is not valid CSV at line 4" in message
    assert not list(landed.rglob("manifest.json"))


def test_a_corrected_month_is_landed_again_and_the_others_are_not(folder, land_events, landed) -> None:
    write(folder / "2026-01.csv", MONTH)
    write(folder / "2026-02.csv", MONTH.replace(b"-01", b"-02"))
    land_events("20260131T000001Z-1")
    write(folder / "2026-01.csv", MONTH.replace(b"10.50", b"11.50"), seconds=1)
    assert names_of(land_events("20260131T000002Z-2")) == ["2026-01.csv"]
    assert [record["amount"] for record in records_of(landed, "2026-01.csv", "20260131T000002Z-2")] == ["11.50"]


def test_a_csv_file_that_loses_its_rows_is_an_error(folder, land_events) -> None:
    write(folder / "2026-01.csv", MONTH)
    write(folder / "2026-02.csv", b"month,channel,amount\n")
    assert names_of(land_events("20260131T000001Z-1")) == ["2026-01.csv"]
    write(folder / "2026-01.csv", b"month,channel,amount\n", seconds=1)
    assert "had records before, but has none now" in refusal(land_events, "20260131T000002Z-2")


def test_exchange_rates_are_landed_as_a_snapshot_when_they_change(folder, land_rates, landed) -> None:
    write(folder / "rates.csv", RATES)
    [manifest] = land_rates("20260131T000001Z-1")
    assert (manifest.load, manifest.rows, manifest.columns) == ("snapshot", 4, ("currency", "month", "rate"))
    assert records_of(landed, "rates.csv")[1] == {"month": "2026-01", "currency": "EUR", "rate": "1.08"}
    assert land_rates("20260131T000002Z-2") == []
    write(folder / "rates.csv", RATES.replace(b"1.08", b"1.07"))
    assert [batch.batch_id for batch in land_rates("20260131T000003Z-3")] == ["20260131T000003Z-3"]
    assert land_rates("20260131T000003Z-3")[0].rows == 4


@pytest.mark.parametrize(
    ("content", "reporting_currency", "reason"),
    [
        (RATES, "EUR", "do not convert to EUR: EUR has no rate of 1 in 2026-01 and 1 other months"),
        (RATES.replace(b"2026-02,USD,1.0", b"2026-02,USD,1.1"), "USD", "USD has no rate of 1 in 2026-02."),
        (RATES.replace(b"2026-02,USD,1.0\n", b""), "USD", "USD has no rate of 1 in 2026-02."),
        (RATES.replace(b"2026-02,USD,1.0", b"2026-02,USD,one"), "USD", "USD has no rate of 1 in 2026-02."),
        (b"month,currency,rate\n", "USD", "has no exchange rates"),
        (b"", "USD", "has no exchange rates"),
    ],
)
def test_exchange_rates_for_another_currency_land_nothing(
    folder, land_rates, landed, content: bytes, reporting_currency: str, reason: str
) -> None:
    write(folder / "rates.csv", content)
    message = refusal(land_rates, reporting_currency=reporting_currency)
    assert reason in message
    assert str(folder / "rates.csv") in message
    assert not list(landed.rglob("manifest.json"))


def test_an_invalid_rate_is_landed(folder, land_rates) -> None:
    write(folder / "rates.csv", RATES + b"2026-02,GBP\n2026-02,GBP,much\n,,\n")
    assert land_rates()[0].rows == 7


def test_a_missing_file_of_rates_is_an_error(folder, land_rates) -> None:
    assert f"File {folder}/none.csv does not exist" in refusal(land_rates, name="none.csv")
