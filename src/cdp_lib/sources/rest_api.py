"""A REST API that answers a plain GET with a JSON array of records."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import requests
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

from cdp_lib.errors import CdpError
from cdp_lib.landing import Extraction, Manifest

RETRIES = 4
"""Attempts after the first, on a refused connection, on 429 and on 5xx; waits 0, 1, 2 and 4 seconds."""

LONGEST_WAIT_SECONDS = 60
"""Bound of one wait between attempts, whatever `Retry-After` asks for."""

_BETWEEN_RECORDS = re.compile(r"[\s,]*")


def land_json_array(
    extraction: Extraction, entity: str, url: str, *, token: str | None, timeout_seconds: float
) -> list[Manifest]:
    """Land the array an address answers with: the answer as received, and one record a line.

    Args:
        extraction: Where to land it.
        entity: What the records are.
        url: Address of the array.
        token: Bearer token, None where the API asks for none.
        timeout_seconds: Seconds to wait for a connection and between two bytes of the answer.

    Returns:
        The landed batch.

    Raises:
        CdpError: The API can't be reached, answers with an error or too slowly, or answers with anything but an
            array that has records.
    """
    if earlier := extraction.find_batch(entity):
        return [earlier]
    answer = fetch(url, token=token, timeout_seconds=timeout_seconds)
    records = list(split_json_array(answer, url))
    if not records:
        raise CdpError(f"API {url} answered with an empty array: check the source; nothing was landed.")
    with extraction.new_batch(entity) as batch:
        batch.write_received("answer.json", answer)
        with batch.open_data("part-00000.jsonl", "jsonl") as file:
            for text, record in records:
                file.write(text.encode() + b"\n")
                batch.add(1, set(record) if isinstance(record, dict) else set())
    return [batch.manifest]


def fetch(url: str, *, token: str | None, timeout_seconds: float) -> bytes:
    """The body of an answer, after bounded retries with backoff.

    Args:
        url: Address to GET.
        token: Bearer token, None for none.
        timeout_seconds: Seconds to wait for a connection and between two bytes.

    Raises:
        CdpError: No answer, one that is cut off, or one that is not 2xx.
    """
    retry = Retry(
        total=RETRIES,
        read=1,  # a slow source is asked twice, not five times
        backoff_factor=0.5,
        status_forcelist=(429, 500, 502, 503, 504),
        allowed_methods=("GET",),
        raise_on_status=False,
        retry_after_max=LONGEST_WAIT_SECONDS,
    )
    if token and not (token.isascii() and token.isprintable()):
        # The HTTP client would quote it in its error.
        raise CdpError("Secret 'api_token' can't be sent: it has a character, maybe a line break, no header may have.")
    headers = {"Accept": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
    with requests.Session() as session:
        for scheme in ("http://", "https://"):
            session.mount(scheme, HTTPAdapter(max_retries=retry))
        try:
            response = session.get(url, headers=headers, timeout=timeout_seconds)
        except requests.exceptions.RequestException as error:
            raise CdpError(f"API {url} can't be read: {_reason(error, timeout_seconds)}.") from error
    if response.status_code in (401, 403):
        raise CdpError(f"API {url} refused access ({response.status_code}): check the secret 'api_token'.")
    if not response.ok:
        raise CdpError(f"API {url} answered {response.status_code} {response.reason}: check the address and the API.")
    return response.content


def split_json_array(answer: bytes, url: str) -> Iterator[tuple[str, object]]:
    """The records of a JSON array, each as the text it was received as, on one line, and parsed.

    A line break inside a JSON text can only be white space between tokens, so a blank in its place changes nothing.

    Args:
        answer: Body of an answer, UTF-8 with or without byte order mark.
        url: Where it came from, for messages.

    Raises:
        CdpError: The answer is not JSON, or no array.
    """
    try:
        text = answer.decode("utf-8-sig")
        records = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise CdpError(f"API {url} did not answer with JSON ({len(answer)} bytes; {error}).") from error
    if not isinstance(records, list):
        raise CdpError(f"API {url} answered with a JSON {type(records).__name__}: an array of records is expected.")
    decoder = json.JSONDecoder()
    end = text.index("[") + 1
    for record in records:
        start = _BETWEEN_RECORDS.match(text, end).end()  # type: ignore[union-attr]  # it matches no text, too
        _, end = decoder.raw_decode(text, start)
        yield text[start:end].replace("\r", " ").replace("\n", " "), record


def _reason(error: requests.exceptions.RequestException, timeout_seconds: float) -> str:
    """Why there was no answer, without the layers of exceptions around it."""
    if isinstance(error, requests.exceptions.Timeout) or "timed out" in str(error):
        return f"no answer within {timeout_seconds:g} seconds"
    if isinstance(error, requests.exceptions.InvalidURL | requests.exceptions.MissingSchema):
        return "this is no web address"
    if isinstance(error, requests.exceptions.ChunkedEncodingError):
        return "the answer is cut off"
    if isinstance(error, requests.exceptions.InvalidHeader):
        return str(error)
    cause = getattr(error.args[0], "reason", error) if error.args else error
    return str(cause).rsplit(": ", 1)[-1].rstrip(".")
