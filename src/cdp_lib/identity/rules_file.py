"""The file of identity rules: which identifiers join records, and where the values of a person come from."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from reprlib import Repr
from typing import Any

import yaml

from cdp_lib.contracts.identity import PERSON_GROUPS
from cdp_lib.errors import CdpError
from cdp_lib.identity.model import Model
from cdp_lib.identity.model_file import load_model
from cdp_lib.identity.rules import (
    DEFAULT_GROUPS,
    OFF,
    PLATFORM_KINDS,
    SOURCES_OF_VALUES,
    AttributeGroup,
    IdentifierKind,
    IdentityRules,
)
from cdp_lib.reference.phone_plans import read_countries_with_plan

SOURCES_WITH_ATTRIBUTES = ("customers", "crm_contacts")
"""Sources whose own attributes may hold an identifier."""

_RESERVED_KINDS = ("always", "block", "model", "prior")
"""Names with another meaning in the evidence of a pair, or in the reason of a link."""

_KEYS = ("kinds", "limits", "groups", "model", "country")
_KIND_KEYS = ("weight", "joins", "values_per_person", "persons_per_value", "latest", "blocked", "attributes")
_LIMITS = ("link_weight", "records_per_value", "records_per_person")
_GROUP_KEYS = ("rule", "sources")
_JOINS = ("all", "anonymous")
_RULES = ("priority", "recency", "completeness")
_NAME = re.compile(r"[a-z][a-z0-9_]*")
_DEFAULT_SOURCES = {group.name: group.sources for group in DEFAULT_GROUPS}


def read_identity_rules(path: str) -> IdentityRules:
    """Read the file of identity rules.

    Args:
        path: Path of the file. Empty if identity resolution is off.

    Returns:
        The rules. Kinds are sorted by weight, the strongest kind first.

    Raises:
        CdpError: The file is missing or is not YAML, or it contains an unknown name or an invalid value.
    """
    if not path:
        return OFF
    try:
        content = yaml.load(Path(path).read_text(encoding="utf-8"), _UniqueKeyLoader)
    except OSError as error:
        raise CdpError(
            f"The file of identity rules {path} can't be read ({error.strerror}): check 'identity_rules'."
        ) from None
    except Exception as error:
        # Besides its own errors, the parser raises many others, for example for a date such as 2026-02-30.
        reason = " ".join(str(error).split()) or type(error).__name__
        raise CdpError(f"The file of identity rules {path} is not YAML: {reason}.") from None
    return _Reader(path).rules(content)


class _UniqueKeyLoader(yaml.SafeLoader):
    """Safe YAML loader that refuses a key that a block has twice. The plain loader keeps only the last value."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = Counter(str(key.value) for key, _ in node.value)
        if twice := [key for key, number in keys.items() if number > 1]:
            raise yaml.YAMLError(
                f"line {node.start_mark.line + 1} starts a block that has the key '{twice[0]}' twice; keep one of them"
            )
        return super().construct_mapping(node, deep)


@dataclass(frozen=True)
class _Reader:
    """Reader of one file of identity rules. It checks each value."""

    path: str

    def error(self, place: str, found: str, advice: str) -> CdpError:
        where = f"{self.path}{f': {place}' if place else ''}"
        return CdpError(f"{where} {found}: {advice}.")

    def rules(self, content: Any) -> IdentityRules:
        values = self.block("", content, _KEYS)
        kinds = self.block("kinds", values.get("kinds", {}))
        if not kinds:
            raise self.error(
                "kinds", "is empty", "declare a kind of identifier, or leave 'identity_rules' empty to switch it off"
            )
        limits = self.block("limits", values.get("limits", {}), _LIMITS)
        groups = self.block("groups", values.get("groups", {}), tuple(PERSON_GROUPS))
        read = [self.kind(str(name), each) for name, each in kinds.items()]
        model = self.model(values.get("model"))
        trained = load_model(model) if model else None
        self.refuse_reserved(read, trained)
        return IdentityRules(
            kinds=tuple(sorted(read, key=lambda kind: -kind.weight)),
            groups=tuple(self.group(name, groups.get(name, {})) for name in PERSON_GROUPS),
            link_weight=self.positive("limits.link_weight", limits.get("link_weight", OFF.link_weight)),
            records_per_value=self.count("limits.records_per_value", limits, OFF.records_per_value, least=2),
            records_per_person=self.count("limits.records_per_person", limits, OFF.records_per_person, least=2),
            model=model,
            model_version=trained.version if trained else "",
            country=self.country(values.get("country")),
        )

    def refuse_reserved(self, kinds: Sequence[IdentifierKind], model: Model | None) -> None:
        """Refuse a kind with the name of a comparison of the model, or with another reserved name.

        The evidence of a pair is one map with the names of kinds and comparisons as keys. Spark refuses a map that has
        a key twice.
        """
        reserved = (*_RESERVED_KINDS, *(comparison.name for comparison in (model.comparisons if model else ())))
        if clashes := [kind.name for kind in kinds if kind.name in reserved]:
            place = f"kinds.{clashes[0]}"
            raise self.error(place, "has a reserved name", f"write another name, such as {clashes[0]}_number")

    def model(self, value: Any) -> str:
        """Return the name of a model of the library, or the path of a model file. The file of rules may be elsewhere.

        A relative path is relative to the folder of the file of rules.
        """
        name = self.text("model", value)
        return name if not name or _NAME.fullmatch(name) else str(Path(self.path).parent / name)

    def kind(self, name: str, content: Any) -> IdentifierKind:
        place = f"kinds.{name}"
        if not _NAME.fullmatch(name):
            raise self.error(
                place, "has an invalid name", "write lower case letters, digits and _, such as card_number"
            )
        values = self.block(place, content, _KIND_KEYS)
        if "weight" not in values:
            raise self.error(place, "has no weight", "write the evidence of an equal value in bits, such as weight: 16")
        attributes = self.attributes(f"{place}.attributes", values.get("attributes", {}))
        if name in PLATFORM_KINDS and attributes:
            raise self.error(
                place, "has attributes", "the platform knows its columns; declare attributes as a new kind"
            )
        if name not in PLATFORM_KINDS and not attributes:
            raise self.error(
                place,
                "has no attributes",
                f"name the attribute of a source that holds it; the kinds without are {', '.join(PLATFORM_KINDS)}",
            )
        return IdentifierKind(
            name,
            self.positive(f"{place}.weight", values["weight"]),
            self.choice(f"{place}.joins", values.get("joins", "all"), _JOINS),  # type: ignore[arg-type]
            **{
                key: self.count(f"{place}.{key}", values)
                for key in ("values_per_person", "persons_per_value", "latest")
            },
            blocked=self.texts(f"{place}.blocked", values.get("blocked", [])),
            attributes=attributes,
        )

    def attributes(self, place: str, content: Any) -> tuple[tuple[str, str], ...]:
        values = self.block(place, content, SOURCES_WITH_ATTRIBUTES)
        named = tuple((source, self.text(f"{place}.{source}", name)) for source, name in sorted(values.items()))
        if empty := [source for source, name in named if not name]:
            raise self.error(f"{place}.{empty[0]}", "is empty", "write the name of an attribute")
        return named

    def group(self, name: str, content: Any) -> AttributeGroup:
        place = f"groups.{name}"
        values = self.block(place, content, _GROUP_KEYS)
        sources = self.texts(f"{place}.sources", values.get("sources", list(_DEFAULT_SOURCES[name])))
        for source in sources:
            self.choice(f"{place}.sources", source, SOURCES_OF_VALUES)
        if not sources or len(set(sources)) < len(sources):
            raise self.error(
                f"{place}.sources",
                f"is {_shown(list(sources))}",
                f"write each source once, of {', '.join(SOURCES_OF_VALUES)}",
            )
        rule = self.choice(f"{place}.rule", values.get("rule", "priority"), _RULES)
        return AttributeGroup(name, rule, sources)  # type: ignore[arg-type]

    def block(self, place: str, content: Any, keys: Collection[str] = ()) -> dict[str, Any]:
        """Return a block of keys and values. An empty block is empty. Any key is valid if `keys` is empty."""
        if content is None:
            return {}
        if not isinstance(content, dict):
            raise self.error(
                place, f"is {_shown(content)}", f"write a block with {', '.join(keys) or 'one line per kind'}"
            )
        if unknown := [str(key) for key in content if keys and key not in keys]:
            raise self.error(place, f"has the unknown key '{unknown[0]}'", f"the keys are {', '.join(keys)}")
        return content

    def positive(self, place: str, value: Any) -> float:
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if not is_number or not 0 < value < math.inf:
            raise self.error(place, f"is {_shown(value)}", "write a number above 0")
        return float(value)

    def count(self, place: str, values: dict[str, Any], default: int = 0, least: int = 0) -> int:
        value = values.get(place.rsplit(".", 1)[-1], default)
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            meaning = "" if least else "; 0 is no limit"
            raise self.error(place, f"is {_shown(value)}", f"write a whole number, {least} or more{meaning}")
        return value

    def choice(self, place: str, value: Any, choices: Collection[str]) -> str:
        if value not in choices:
            raise self.error(place, f"is {_shown(value)}", f"write {' or '.join(choices)}")
        return str(value)

    def texts(self, place: str, values: Any) -> tuple[str, ...]:
        items = tuple(self.text(place, item) for item in (values if isinstance(values, list) else [values]))
        if "" in items:
            raise self.error(place, "has an empty value", "write a text, or remove the line")
        return items

    def text(self, place: str, value: Any) -> str:
        if value is not None and (isinstance(value, bool) or not isinstance(value, str | int | float)):
            raise self.error(place, f"is {_shown(value)}", "write a text; put it in quotes")
        return "" if value is None else str(value).strip()

    def country(self, value: Any) -> str:
        # YAML reads NO, the code of Norway, as false.
        text = "NO" if value is False else self.text("country", value)
        if text and text not in read_countries_with_plan():
            raise self.error("country", f"is {_shown(text)}", "write an ISO 3166-1 alpha-2 code such as AT")
        return text


def _shown(value: object) -> str:
    """Return the beginning of a value for a message. A value with aliases can be many times larger than its file."""
    short = Repr()
    short.maxlevel, short.maxlist, short.maxdict, short.maxstring = 2, 4, 4, 60
    return short.repr(value)
