import io
import json
import tracemalloc

import pytest

from cdp_lib.errors import CdpError
from cdp_lib.sources import pages
from cdp_lib.sources.pages import Page

RECORDS = [
    '{"customer_id": 101, "country": "Egypt"}',
    '{"a": {"b": [1, {"c": "}, {"}]}, "d": "] ["}',
    r'{"name": "Zo\u00eb \ud83d\ude00", "lone": "\ud800", "quoted": "\\\" ,"}',
    '{"name": "Zoë ﷺ 😀 नूर line\u2028paragraph\u2029next\u0085end"}',
    '{"price": 1.10, "id": 12345678901234567890.50, "x": -1E+5, "huge": 1e400}',
    '{"a": 1, "a": 2, "": null}',
    "[1, [2]]",
    '"text, ]"',
    "-12.5e-3",
    "123",
    "true",
    "null",
    "{}",
    "[]",
]


def lines_of(body: bytes) -> list[str]:
    return [line.decode().removesuffix("\n") for line, _ in Page(io.BytesIO(body), "API").records]


@pytest.mark.parametrize("characters", [1, 2, 3, 7, 64, 1 << 16])
@pytest.mark.parametrize("between", [",", ", ", "\r\n\t, \n"])
@pytest.mark.parametrize(
    "frame", ["[{}]", '{{"value": [{}], "next": "/2"}}', " \n[ {} ]\n ", '{{"n": 12, "data":[{}]}}']
)
def test_a_chunk_may_end_anywhere_in_a_record(
    monkeypatch: pytest.MonkeyPatch, characters: int, between: str, frame: str
) -> None:
    monkeypatch.setattr(pages, "_CHUNK_CHARACTERS", characters)
    assert lines_of(frame.format(between.join(RECORDS)).encode()) == RECORDS


def test_a_page_has_records_rows_columns_and_members() -> None:
    page = Page(
        io.BytesIO(b'{"count": 2, "value": [{"@odata.etag": "1", "a": 1}, {"b": [2]}], "more": {"x": [3]}}'), "API"
    )
    assert [record for _, record in page.records] == [{"@odata.etag": "1", "a": 1}, {"b": [2]}]
    assert page.rows == 2
    assert page.columns == {"a", "b"}
    assert page.members == {"count": 2, "more": {"x": [3]}}


def test_the_checksum_is_that_of_the_records() -> None:
    def checksum_of(body: bytes) -> str:
        page = Page(io.BytesIO(body), "API")
        assert len(list(page.records)) == page.rows
        return page.checksum

    assert checksum_of(b'[{"a": 1},{"b": 2}]') == checksum_of(b'{"at": "10:31", "value": [{"a": 1}, {"b": 2}]}')
    assert checksum_of(b'[{"a": 1},{"b": 2}]') != checksum_of(b'[{"b": 2},{"a": 1}]')


def test_a_line_break_between_tokens_becomes_a_blank() -> None:
    assert lines_of(b'[{"a":\r\n1,\n"b": "\\n"}]') == ['{"a":  1, "b": "\\n"}']


def test_a_byte_order_mark_is_not_part_of_the_records() -> None:
    assert lines_of(b"\xef\xbb\xbf[1]") == ["1"]


@pytest.mark.parametrize("body", [b"[]", b" [ \n ] ", b'{"value": []}', b'{"value": [ ], "next": null}'])
def test_a_page_may_have_no_records(body: bytes) -> None:
    assert lines_of(body) == []


@pytest.mark.parametrize("characters", [1, 5, 1 << 16])
@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "returned nothing"),
        (b" \n", "returned nothing"),
        (b"<!DOCTYPE html><html>Sign in</html>", "returned a web page"),
        (b"Internal error", "returned text that begins with 'I'"),
        (b'"text"', "instead of JSON with an array of records"),
        (b"null", "instead of JSON with an array of records"),
        (b'[{"a": 1}, {"a": ', "did not return valid JSON"),
        (b'[{"a": 1}', "did not return valid JSON (Expecting a comma or a bracket at character 9)"),
        (b'[{"a": 1},', "did not return valid JSON (Expecting value at character 10)"),
        (b'[{"a": 1},]', "did not return valid JSON (Expecting value at character 10)"),
        (b'[{"a": 1} {"a": 2}]', "did not return valid JSON (Expecting a comma or a bracket at character 10)"),
        (b'[{"a": 1}]]', "did not return valid JSON (Extra data at character 10)"),
        (b'[{"a": 1}}', "did not return valid JSON (Expecting , or ] at character 9)"),
        (b'[{"a": "1]', "did not return valid JSON (Unterminated string starting at character 7)"),
        (b"[1, 12", "did not return valid JSON"),
        (b"[nul", "did not return valid JSON"),
        (b"[" * 200_000, "did not return valid JSON"),
        (b'[{"a": "\x01"}]', "did not return valid JSON (Invalid control character at character 8)"),
        (b'[{"a": 1}\xff]', "did not return valid UTF-8 (invalid start byte)"),
        (b'[{"a": "\xc3', "did not return valid UTF-8 (unexpected end of data)"),
        (b'{"error": "quota"}', "an object without an array"),
        (b"{}", "an object without an array"),
        (b'{"a": [1], "b": []}', "an object with more than one array (a, b)"),
        (b'{"value": [1], "next": ', "did not return valid JSON"),
        (b'{"value": [1]', "did not return valid JSON"),
        (b"{1: [2]}", "did not return valid JSON (Expecting a name in double quotes at character 1)"),
        (b'{"value": [1] "next": 2}', "did not return valid JSON (Expecting , or } at character 14)"),
    ],
    ids=lambda value: value[:20].decode(errors="replace") if isinstance(value, bytes) else None,
)
def test_an_answer_without_a_page_of_records_is_an_error(
    monkeypatch: pytest.MonkeyPatch, body: bytes, reason: str, characters: int
) -> None:
    monkeypatch.setattr(pages, "_CHUNK_CHARACTERS", characters)
    with pytest.raises(CdpError) as refused:
        lines_of(body)
    assert reason in str(refused.value)
    assert str(refused.value).startswith("API ")


def test_a_field_of_many_chunks_is_parsed_in_linear_time(monkeypatch: pytest.MonkeyPatch) -> None:
    class CountingDecoder(json.JSONDecoder):
        parsed = 0

        def raw_decode(self, text: str, at: int = 0) -> tuple[object, int]:
            self.parsed += len(text) - at
            return super().raw_decode(text, at)

    decoder = CountingDecoder()
    monkeypatch.setattr(pages, "_CHUNK_CHARACTERS", 64)
    monkeypatch.setattr(pages, "DECODER", decoder)
    large = json.dumps({"note": "x" * 3_000_000})
    assert lines_of(f'[{{"a": 1}}, {large}, {{"a": 2}}]'.encode()) == ['{"a": 1}', large, '{"a": 2}']
    assert decoder.parsed < 4 * len(large)


def test_only_the_record_being_read_is_in_memory() -> None:
    body = io.BytesIO(b"[" + b'{"customer_id": 101, "country": "Egypt"},' * 30_000 + b"1]")
    tracemalloc.start()
    try:
        assert sum(1 for _ in Page(body, "API").records) == 30_001
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 600_000 < len(body.getvalue())


def test_an_early_error_is_found_without_reading_the_rest() -> None:
    body = io.BytesIO(b"[{1}, " + b"1," * 1_000_000 + b"1]")
    with pytest.raises(CdpError, match="at character 2"):
        list(Page(body, "API").records)
    assert body.tell() < 100_000
