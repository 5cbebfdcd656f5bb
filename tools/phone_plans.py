"""Writes src/cdp_lib/reference/phone_plans.csv: the numbering plans of the package `phonenumbers`.

Run it after a new version of the package: `.venv/bin/python tools/phone_plans.py`. A test compares the file with the
installed version.
"""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path
from typing import Any

from phonenumbers import SUPPORTED_REGIONS, PhoneMetadata, region_code_for_country_code

FILE = Path(__file__).resolve().parents[1] / "src/cdp_lib/reference/phone_plans.csv"

COLUMNS = (
    "country_code",
    "calling_code",
    "is_main",
    "international_prefix",
    "national_prefix",
    "transform",
    "captured",
    "lengths",
    "pattern",
)


def plan(country_code: str) -> tuple[str, ...]:
    """Return the row of a country."""
    metadata: Any = PhoneMetadata.metadata_for_region(country_code)
    general = metadata.general_desc
    is_main = region_code_for_country_code(metadata.country_code) == country_code
    # `$2` in Spark's regular expressions, `\2` in Python's.
    transform = re.sub(r"\\(\d)", r"$\1", metadata.national_prefix_transform_rule or "")
    prefix = metadata.national_prefix_for_parsing or ""
    groups = re.compile(prefix).groups
    return (
        country_code,
        str(metadata.country_code),
        str(is_main).lower(),
        _anchored(metadata.international_prefix),
        _anchored(prefix),
        transform,
        # Replaces the prefix by `<` and `>` around the last group, to find out whether the group has a value.
        f"<${groups}>" if transform else "",
        f",{','.join(map(str, general.possible_length))},",
        f"^(?:{general.national_number_pattern})$",
    )


def plans() -> str:
    """Return the content of the file."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(plan(country_code) for country_code in sorted(SUPPORTED_REGIONS))
    return text.getvalue()


def _anchored(pattern: str | None) -> str:
    return f"^(?:{pattern})" if pattern else ""


if __name__ == "__main__":
    FILE.write_text(plans(), encoding="utf-8")
