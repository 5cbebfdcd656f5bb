"""Tests of the file of identity rules: what it means, and which message a wrong value gets."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from cdp_lib.errors import CdpError
from cdp_lib.identity.model_file import load_model, model_json
from cdp_lib.identity.rules import OFF, SOURCES_OF_VALUES, AttributeGroup, IdentifierKind, IdentityRules
from cdp_lib.identity.rules_file import read_identity_rules
from cdp_local.workspace import PROJECT

CARD = """
kinds:
  phone: {weight: 12, blocked: "+43000*"}
  card: {weight: 30.5, values_per_person: 3, persons_per_value: 2, latest: 4, attributes: {crm_contacts: Card}}
groups:
  address: {rule: recency, sources: [crm_contacts, customers]}
limits: {link_weight: 9, records_per_value: 10, records_per_person: 50}
model: retail
country: AT
"""


def read(folder: Path, text: str) -> IdentityRules:
    path = folder / "identity.yml"
    path.write_text(text, encoding="utf-8")
    return read_identity_rules(str(path))


def test_empty_path_switches_identity_resolution_off() -> None:
    assert read_identity_rules("") == OFF
    assert not OFF.is_on


def test_shipped_file_is_valid() -> None:
    rules = read_identity_rules(str(PROJECT / "identity.yml"))
    assert [(kind.name, kind.weight) for kind in rules.kinds] == [
        ("customer_id", 40.0),
        ("email", 16.0),
        ("phone", 10.0),
        ("device", 8.0),
    ]
    device = rules.kinds[-1]
    assert (device.joins, device.persons_per_value, device.latest) == ("anonymous", 1, 5)
    assert (rules.model, rules.country, rules.link_weight) == ("", "", 8.0)


def test_commented_example_of_the_shipped_file_is_valid(tmp_path: Path) -> None:
    text = (PROJECT / "identity.yml").read_text(encoding="utf-8")
    start = text.index("  # loyalty_card:")
    end = text.index("  email:", start)
    example = text[start:end].replace("  # ", "  ")
    rules = read(tmp_path, text[:start] + example + text[end:])
    [card] = [kind for kind in rules.kinds if kind.name == "loyalty_card"]
    assert card.attributes == (("crm_contacts", "cdp_loyaltycard"), ("customers", "loyalty_card"))


def test_kinds_are_sorted_by_weight_and_groups_have_defaults(tmp_path: Path) -> None:
    rules = read(tmp_path, CARD)
    assert rules.kinds == (
        IdentifierKind("card", 30.5, "all", 3, 2, 4, (), (("crm_contacts", "Card"),)),
        IdentifierKind("phone", 12.0, blocked=("+43000*",)),
    )
    groups = {group.name: group for group in rules.groups}
    assert groups["address"] == AttributeGroup("address", "recency", ("crm_contacts", "customers"))
    assert groups["name"] == AttributeGroup("name", "priority", SOURCES_OF_VALUES)
    assert (rules.link_weight, rules.records_per_value, rules.records_per_person) == (9.0, 10, 50)
    assert (rules.model, rules.country) == ("retail", "AT")


def test_text_of_rules_depends_only_on_their_values(tmp_path: Path) -> None:
    reordered = "\n".join(["# comment", *CARD.strip().splitlines()[-3:], *CARD.strip().splitlines()[:-3]])
    assert str(read(tmp_path, CARD)) == str(read(tmp_path, reordered))


def test_norway_needs_no_quotes(tmp_path: Path) -> None:
    assert read(tmp_path, "kinds: {email: {weight: 1}}\ncountry: NO").country == "NO"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[]", " is []: write a block with kinds, limits, groups, model, country."),
        ("", ": kinds is empty: declare a kind of identifier, or leave 'identity_rules' empty to switch it off."),
        ("kind: {}", " has the unknown key 'kind': the keys are kinds, limits, groups, model, country."),
        ("kinds: [email]", ": kinds is ['email']: write a block with one line per kind."),
        ("kinds: {email: 16}", ": kinds.email is 16: write a block with weight, joins,"),
        ("kinds: {email: {}}", ": kinds.email has no weight: write the evidence"),
        ("kinds: {E-mail: {weight: 1}}", ": kinds.E-mail has an invalid name: write lower case letters"),
        ("kinds: {email: {weight: -1}}", ": kinds.email.weight is -1: write a number above 0."),
        ("kinds: {email: {weight: .nan}}", ": kinds.email.weight is nan: write a number above 0."),
        ("kinds: {email: {weight: true}}", ": kinds.email.weight is True: write a number above 0."),
        ("kinds: {email: {weight: 1, wieght: 2}}", ": kinds.email has the unknown key 'wieght': the keys are weight,"),
        ("kinds: {email: {weight: 1, joins: some}}", ": kinds.email.joins is 'some': write all or anonymous."),
        ("kinds: {email: {weight: 1, joins: []}}", ": kinds.email.joins is []: write all or anonymous."),
        (
            "kinds: {email: {weight: 1, latest: 1.5}}",
            ": kinds.email.latest is 1.5: write a whole number, 0 or more; 0 is no limit.",
        ),
        ("kinds: {email: {weight: 1, latest: -1}}", ": kinds.email.latest is -1: write a whole number, 0 or more;"),
        ("kinds: {email: {weight: 1, blocked: ['']}}", ": kinds.email.blocked has an empty value: write a text,"),
        ("kinds: {email: {weight: 1, blocked: {a: 1}}}", ": kinds.email.blocked is {'a': 1}: write a text; put it in"),
        (
            "kinds: {gender: {weight: 1, attributes: {customers: x}}}\nmodel: retail",
            ": kinds.gender has a reserved name: write another name, such as gender_number.",
        ),
        ("kinds: {block: {weight: 1, attributes: {customers: x}}}", ": kinds.block has a reserved name: write"),
        ("kinds: {card: {weight: 1}}", ": kinds.card has no attributes: name the attribute"),
        ("kinds: {card: {weight: 1, attributes: {shop: x}}}", ": kinds.card.attributes has the unknown key 'shop':"),
        ("kinds: {card: {weight: 1, attributes: {customers: }}}", ": kinds.card.attributes.customers is empty: write"),
        ("kinds: {email: {weight: 1, attributes: {customers: x}}}", ": kinds.email has attributes: the platform knows"),
        ("kinds: {email: {weight: 1}}\nlimits: {most: 1}", ": limits has the unknown key 'most': the keys are"),
        (
            "kinds: {email: {weight: 1}}\nlimits: {records_per_value: 1}",
            ": limits.records_per_value is 1: write a whole number, 2 or more.",
        ),
        ("kinds: {email: {weight: 1}}\nlimits: {link_weight: 0}", ": limits.link_weight is 0: write a number above 0."),
        ("kinds: {email: {weight: 1}}\ngroups: {names: {}}", ": groups has the unknown key 'names': the keys are"),
        (
            "kinds: {email: {weight: 1}}\ngroups: {name: {rule: best}}",
            ": groups.name.rule is 'best': write priority or",
        ),
        (
            "kinds: {email: {weight: 1}}\ngroups: {name: {sources: [crm]}}",
            ": groups.name.sources is 'crm': write customers or crm_contacts or events.",
        ),
        (
            "kinds: {email: {weight: 1}}\ngroups: {name: {sources: []}}",
            ": groups.name.sources is []: write each source",
        ),
        ("kinds: {email: {weight: 1}}\nmodel: [a]", ": model is ['a']: write a text; put it in quotes."),
        ("kinds: {email: {weight: 1}}\ncountry: Austria", ": country is 'Austria': write an ISO 3166-1 alpha-2 code"),
        ("kinds: {email: {weight: 1}}\ncountry: UK", ": country is 'UK': write an ISO 3166-1 alpha-2 code such as AT."),
    ],
)
def test_wrong_value_is_refused_in_one_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(CdpError) as refused:
        read(tmp_path, text)
    assert f"identity.yml{message}" in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "text", ["kinds: {email: {weight: 1}, email: {weight: 2}}", "model: a\nmodel: b", "a: [", "\0"]
)
def test_duplicate_key_and_invalid_yaml_are_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(CdpError, match=r"^The file of identity rules .*identity.yml is not YAML: [^\n]*$"):
        read(tmp_path, text)


def test_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CdpError, match=r"can't be read \(No such file or directory\): check 'identity_rules'\.$"):
        read_identity_rules(str(tmp_path / "none.yml"))


def test_changed_model_file_changes_the_text_of_the_rules(tmp_path: Path) -> None:
    """Table states store the text, so a table of another version of the model is rebuilt."""
    path = tmp_path / "identity.yml"
    path.write_text("kinds: {email: {weight: 16}}\nmodel: own.json\n", encoding="utf-8")
    texts = []
    for prior in (-12.0, -12.0, -13.0):
        model = replace(load_model("retail"), prior=prior)
        (tmp_path / "own.json").write_text(model_json(model), encoding="utf-8")
        rules = read_identity_rules(str(path))
        assert load_model(rules.model).version == rules.model_version
        texts.append(str(rules))
    assert texts[0] == texts[1] != texts[2]
    assert str(tmp_path) not in texts[0]


def test_unknown_model_is_refused_at_the_start(tmp_path: Path) -> None:
    path = tmp_path / "identity.yml"
    path.write_text("kinds: {email: {weight: 16}}\nmodel: wholesale\n", encoding="utf-8")
    with pytest.raises(CdpError, match="identity model wholesale does not exist: the library has the models retail"):
        read_identity_rules(str(path))
