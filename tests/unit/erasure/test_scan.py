"""Tests of the search for traces: planted identifiers are found in every kind of file, and similar texts are not."""

from __future__ import annotations

import base64
import bz2
import gzip
import hashlib
import html
import io
import json
import lzma
import random
import sqlite3
import unicodedata
import zipfile
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote, quote_plus

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cdp_lib.erasure import scan
from cdp_lib.erasure.persons import Found
from cdp_lib.erasure.scan import Searched, search_folders
from cdp_lib.erasure.traces import traces_of

pytestmark = pytest.mark.first_engine

EMAIL, PHONE, DEVICE = "zoe.brueck@shop.example", "+43 (664) 1234-567", "dev-9f3c71aa20"
NAME, CONTACT, CARD = "Zoë Brückner-O'Neil", "7c9e6679-7425-40de-944b-e07fc1f90ae7", "LOY-558-2231"
PERSON = Found(
    names={"customer": ["4711007"], "contact": [CONTACT], "email": [EMAIL], "device": [DEVICE]},
    numbers=[4711007],
    record_keys=["customer:4711007", f"contact:{CONTACT}"],
    values={"full_name": [NAME], "phone": [PHONE], "loyalty_card": [CARD]},
    rows_only={"city": ["Gmünd"], "birth_date": ["1987-03-09"]},
)
TRACES = traces_of(
    [PERSON],
    id_columns=["KundenNr"],
    row_keys={"transaction_id": ["90001", "90002"]},
    public_columns=["transaction_id", "store_name"],
)

Spell = Callable[[str], str | bytes]
SPELLINGS: dict[str, tuple[tuple[str, ...], Spell]] = {
    "as received": ((EMAIL, PHONE, NAME, CONTACT, DEVICE, CARD), str),
    "lower case": ((EMAIL, NAME, CONTACT, CARD), str.lower),
    "upper case": ((EMAIL, NAME, CONTACT, DEVICE, CARD), str.upper),
    "digits": ((PHONE,), lambda text: "".join(filter(str.isdigit, text))),
    "E.164": ((PHONE,), lambda text: "+" + "".join(filter(str.isdigit, text))),
    "00": ((PHONE,), lambda text: "00" + "".join(filter(str.isdigit, text))),
    "without hyphens": ((CONTACT,), lambda text: text.replace("-", "")),
    "family name first": ((NAME,), lambda text: ", ".join(reversed(text.split()))),
    "without accents": ((NAME,), lambda text: "Zoe Bruckner-O'Neil"),
    "decomposed": ((NAME,), lambda text: unicodedata.normalize("NFD", text)),
    "JSON": ((NAME,), lambda text: json.dumps(text)[1:-1]),
    "JSON in JSON": ((NAME,), lambda text: json.dumps(json.dumps(text))[3:-3]),
    "URL": ((EMAIL, PHONE, NAME), lambda text: quote(text, safe="")),
    "form": ((EMAIL, PHONE, NAME), quote_plus),
    "HTML": ((NAME,), html.escape),
    "HTML @": ((EMAIL,), lambda text: text.replace("@", "&#64;")),
    "UTF-16": ((EMAIL, NAME), lambda text: text.encode("utf-16-le")),
    "base64": ((EMAIL, PHONE, NAME, CONTACT), lambda text: base64.b64encode(text.encode())),
    "base64 within": ((EMAIL, NAME), lambda text: base64.b64encode(b"x" + text.encode() + b"yz")),
    "base64 within 2": ((EMAIL, DEVICE), lambda text: base64.urlsafe_b64encode(b"{}" + text.encode() + b"y")),
    "hexadecimal": ((EMAIL,), lambda text: text.encode().hex().upper()),
    **{
        name: ((EMAIL, PHONE, CARD), lambda text, name=name: hashlib.new(name, text.encode()).hexdigest())
        for name in ("md5", "sha1", "sha256", "sha512")
    },
    "sha256 of lower case": ((NAME,), lambda text: hashlib.sha256(text.lower().encode()).hexdigest().upper()),
    "sha256, base64": ((EMAIL,), lambda text: base64.b64encode(hashlib.sha256(text.encode()).digest())),
}
"""For each way to write a value: the values, and the way."""

OTHERS = ["Ada Byron", "ada@shop.example", "+43 664 7654321", "Wien", "", "x" * 40, "0.4711007", "{}"]
"""Texts of other people."""


def text_around(plant: bytes, dice: random.Random) -> bytes:
    before, after = (dice.choice(OTHERS).encode() for _ in range(2))
    return b'before "' + before + b'",\n"' + plant + b'" ' + after + b"\nend"


def plain(folder: Path, name: str, plant: bytes, dice: random.Random) -> None:
    (folder / name).write_bytes(text_around(plant, dice))


def compressed(compress: Callable[[bytes], bytes]) -> Callable[[Path, str, bytes, random.Random], None]:
    return lambda folder, name, plant, dice: plain_bytes(folder / name, compress(text_around(plant, dice)))


def plain_bytes(path: Path, content: bytes) -> None:
    path.write_bytes(content)


def zipped(folder: Path, name: str, plant: bytes, dice: random.Random) -> None:
    with zipfile.ZipFile(folder / name, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("sheet.xml", text_around(plant, dice))


def gzipped_twice(folder: Path, name: str, plant: bytes, dice: random.Random) -> None:
    (folder / name).write_bytes(gzip.compress(gzip.compress(text_around(plant, dice))))


def database(folder: Path, name: str, plant: bytes, dice: random.Random) -> None:
    connection = sqlite3.connect(folder / name)
    connection.execute("CREATE TABLE people (value)")
    connection.execute("INSERT INTO people VALUES (?)", (plant,))
    connection.commit()
    connection.close()


def long_text(folder: Path, name: str, plant: bytes, dice: random.Random) -> None:
    # The plant is on the border of two chunks.
    filler = b"abc \n" * (scan._CHUNK // 5)
    cut = dice.randrange(len(plant) + 1)
    start = filler[: scan._CHUNK - cut - 1] + b" "
    (folder / name).write_bytes(start + plant + b" " + filler[: scan._CHUNK])


def parquet(make: Callable[[bytes, random.Random], pa.Table], **options: object) -> Callable[..., None]:
    def write(folder: Path, name: str, plant: bytes, dice: random.Random) -> None:
        pq.write_table(make(plant, dice), folder / name, **options)

    return write


def column(plant: bytes, dice: random.Random) -> pa.Table:
    values = [*(each.encode() for each in OTHERS), plant, None]
    dice.shuffle(values)
    is_text = is_utf8(plant)
    return pa.table(
        {
            "amount": range(len(values)),
            "note.text": pa.array(values, pa.binary()).cast(pa.string()) if is_text else values,
        }
    )


def nested(plant: bytes, dice: random.Random) -> pa.Table:
    kind = pa.string() if is_utf8(plant) else pa.binary()
    value = pa.array([plant], pa.binary()).cast(kind)[0].as_py()
    inner = dice.choice(
        [
            pa.array([[value], None], pa.list_(kind)),
            pa.array([[("key", value)], []], pa.map_(pa.string(), kind)),
            pa.array([{"a": {"b": [value]}}, None], pa.struct([("a", pa.struct([("b", pa.list_(kind))]))])),
        ]
    )
    return pa.table({"amount": [1, 2], "inner": inner})


def unused_value(plant: bytes, dice: random.Random) -> pa.Table:
    # Engines may keep a value in a dictionary although its row is deleted.
    values = pa.DictionaryArray.from_arrays(pa.array([0, 0, 1]), pa.array(["a", "b", plant.decode()]))
    return pa.table({"kept": values})


def in_metadata(plant: bytes, dice: random.Random) -> pa.Table:
    return pa.table({"a": [1]}).replace_schema_metadata({b"note": plant})


def is_utf8(content: bytes) -> bool:
    try:
        content.decode()
    except UnicodeDecodeError:
        return False
    return b"\0" not in content


def commit_of_delta(folder: Path, name: str, plant: bytes, dice: random.Random) -> None:
    stats = json.dumps({"numRecords": 1, "minValues": {"note": plant.decode()}}, ensure_ascii=False)
    (folder / name).write_text(json.dumps({"add": {"path": "x", "stats": stats}}, ensure_ascii=False), encoding="utf-8")


def checkpoint(plant: bytes, dice: random.Random) -> pa.Table:
    stats = json.dumps({"maxValues": {"note": plant.decode()}}, ensure_ascii=False)
    values = [("note", plant.decode())]
    add = {"path": "x", "stats": stats, "partitionValues": dice.choice([values, []])}
    kind = pa.struct(
        [("path", pa.string()), ("stats", pa.string()), ("partitionValues", pa.map_(pa.string(), pa.string()))]
    )
    return pa.table({"add": pa.array([None, add], kind)})


ANY_BYTES: dict[str, Callable[[Path, str, bytes, random.Random], None]] = {
    "{}.jsonl": plain,
    "{}.log": plain,
    "{}.html": plain,
    "deletion_vector_{}.bin": plain,
    "{}.csv.gz": compressed(gzip.compress),
    "{}.bz2": compressed(bz2.compress),
    "{}.xz": compressed(lzma.compress),
    "{}.xlsx": zipped,
    "{}": gzipped_twice,
    "{}.db": database,
    "{}.parquet": parquet(column),
    "plain-{}.parquet": parquet(column, use_dictionary=False, compression="zstd"),
    "nested-{}.parquet": parquet(nested),
    "metadata-{}.parquet": parquet(in_metadata),
    "wrong-name-{}.json": parquet(column, write_statistics=False),
}
ONLY_TEXT = {
    "_delta_log-{}.json": commit_of_delta,
    "checkpoint-{}.parquet": parquet(checkpoint),
    "unused-{}.parquet": parquet(unused_value, write_statistics=False),
}


def plants(seed: int) -> list[tuple[str, Callable[..., None], bytes]]:
    """Return name of the file, writer and bytes of each planted value."""
    found = []
    for way, (texts, spell) in SPELLINGS.items():
        for text in texts:
            spelled = spell(text)
            plant = spelled.encode() if isinstance(spelled, str) else spelled
            kinds = ANY_BYTES | (ONLY_TEXT if is_utf8(plant) else {})
            # Each value in two kinds of file per seed, so that the seeds have all pairs in time.
            for name in random.Random(f"{seed} {way} {text}").sample(sorted(kinds), 6):
                found.append((name.format(len(found)), kinds[name], plant))
    return found


@pytest.mark.parametrize("seed", range(2))
def test_every_planted_value_is_found(tmp_path: Path, seed: int) -> None:
    dice, planted = random.Random(seed), plants(seed)
    for name, write, plant in planted:
        write(tmp_path, name, plant, dice)
    found = search_folders([tmp_path], TRACES)
    assert len(planted) >= 300
    assert found.unreadable == []
    missed = {name: plant for name, _, plant in planted} | {}
    for hit in found.hits:
        missed.pop(hit.file, None)
    assert missed == {}
    assert (found.files, found.bytes) == (
        len(planted),
        sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file()),
    )


def test_a_value_on_the_border_of_two_chunks_is_found_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scan, "_CHUNK", 1 << 16)
    for number in range(12):
        long_text(tmp_path, f"{number}.txt", EMAIL.encode(), random.Random(number))
    found = search_folders([tmp_path], TRACES)
    assert sorted(found.hits.values()) == [1] * 12


def test_the_name_of_a_file_and_of_a_folder_is_searched(tmp_path: Path) -> None:
    (tmp_path / f"export_{EMAIL}.csv").write_text("")
    (tmp_path / quote(NAME, safe="")).mkdir()
    (tmp_path / quote(NAME, safe="") / "data.json").write_text("{}")
    assert {(hit.place, hit.kind) for hit in search(tmp_path).hits} == {("name", "email"), ("name", "full_name")}


def test_a_number_counts_only_in_columns_of_identifiers(tmp_path: Path) -> None:
    lines = ['{"customer_id": 4711007}', '{"customer_id":"04711007"}', '{"x": "{\\"KundenNr\\": 4711007}"}']
    for number, text in enumerate([*lines, "GET /c?customer_id=4711007&x=1", "a;KundenNr\n1;2\n1; 04711007 \n"]):
        (tmp_path / f"hit-{number}.txt").write_text(text)
    for number, kind in enumerate([pa.int64(), pa.int32(), pa.string(), pa.decimal128(22, 2), pa.float64()]):
        ids = pa.array([1, 4711007, 3]).cast(kind)
        pq.write_table(pa.table({"customer_id": ids, "amount": [1, 2, 3]}), tmp_path / f"hit-{number}.parquet")
    others = ['{"amount": 4711007}', '{"customer_id": 47110070}', '{"customer_id": 1, "amount": 4711007}', "4711007"]
    for number, text in enumerate([*others, "/c?customer_id=14711007", "KundenNr;a\n1;4711007\n"]):
        (tmp_path / f"other-{number}.txt").write_text(text)
    pq.write_table(pa.table({"customer_id": [1], "amount": [4711007]}), tmp_path / "other.parquet")
    found = search(tmp_path)
    assert {hit.file for hit in found.hits} == {path.name for path in tmp_path.glob("hit-*")}
    assert {hit.kind for hit in found.hits} == {"number"}


def test_a_long_table_of_text_is_searched_to_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scan, "_CHUNK", 1 << 10)
    monkeypatch.setattr(scan, "_OVERLAP", 1 << 7)
    for number in range(0, 300, 29):
        rows = [f"{row},1{row}" for row in range(300)]
        rows[number] = f"{number},4711007"
        (tmp_path / f"{number}.csv").write_text("\n".join(["row,customer_id", *rows]))
    found = search(tmp_path)
    assert (len(found.hits), sum(found.hits.values())) == (11, 11)


def test_a_city_and_a_birth_date_count_only_in_rows_that_were_the_persons(tmp_path: Path) -> None:
    own = {"transaction_id": 90001, "remark": "to GMÜND", "store_name": "Gmünd"}
    other = {"transaction_id": 7, "remark": "Gmünd", "birth": "1987-03-09"}
    (tmp_path / "own.jsonl").write_text("".join(json.dumps(row) + "\n" for row in (other, own)))
    pq.write_table(pa.table({"transaction_id": ["1", "90002"], "a": ["Gmünd", "09.03.1987"]}), tmp_path / "own.parquet")
    (tmp_path / "public.jsonl").write_text(json.dumps({"transaction_id": 90001, "store_name": "Gmünd"}))
    pq.write_table(pa.table({"transaction_id": [7], "city": ["Gmünd"]}), tmp_path / "other.parquet")
    assert {(hit.file, hit.place, hit.kind) for hit in search(tmp_path).hits} == {
        ("own.jsonl", "remark", "city"),
        ("own.parquet", "a", "birth_date"),
    }


@pytest.mark.parametrize(
    "text",
    [
        *("xzoe.brueck@shop.example", "anna-zoe.brueck@shop.example", "zoe.brueck@shop.example.au"),
        *("zoe.brueck@shop.examples", "1436641234567", "436641234567.0"[:12] + "8", "Zoë Brückner-O'Neill"),
        *("DEV-9F3C71AA201", CONTACT[:-1], NAME.split()[0], "Gmünd 1987-03-09"),
    ],
)
def test_texts_of_others_are_no_traces(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.txt").write_text(f"{text}\n", encoding="utf-8")
    pq.write_table(pa.table({"a": [text, "b"]}), tmp_path / "a.parquet")
    assert search(tmp_path).hits == {}


def test_a_word_after_an_escaped_character_is_found(tmp_path: Path) -> None:
    for number, before in enumerate(["\\n", "\\u000a", "%20", "\\t"]):
        (tmp_path / str(number)).write_text(f"a{before}{EMAIL}")
    assert len(search(tmp_path).hits) == 4


@pytest.mark.parametrize(
    "content",
    [b"PAR1 cut", gzip.compress(b"x" * 99, mtime=0)[:-9], b"PK\x03\x04 no archive"],
    ids=["parquet", "gzip", "zip"],
)
def test_a_file_that_cannot_be_decoded_is_reported(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "damaged").write_bytes(content)
    assert search(tmp_path).unreadable == ["damaged"]


def test_links_are_not_followed_and_folders_are_searched_once(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "text").write_text(EMAIL)
    (tmp_path / "a" / "link").symlink_to(tmp_path / "a" / "b" / "text")
    (tmp_path / "a" / "loop").symlink_to(tmp_path / "a")
    found = search_folders([tmp_path / "a", tmp_path / "a" / "b", tmp_path / "a"], TRACES)
    assert (found.files, sum(found.hits.values())) == (1, 1)


def test_a_parquet_file_within_an_archive_is_decoded(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    pq.write_table(pa.table({"a": [EMAIL]}), buffer)
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("inner.parquet", buffer.getvalue())
    assert {hit.kind for hit in search(tmp_path).hits} == {"email"}


def search(folder: Path) -> Searched:
    return search_folders([folder], TRACES)
