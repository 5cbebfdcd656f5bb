"""Model files: one JSON object with comparisons, probabilities, term frequencies, prior and blocking keys."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict
from importlib.resources import files
from pathlib import Path
from typing import Any

from cdp_lib.errors import CdpError
from cdp_lib.identity.comparisons import PARTS, TESTS, BlockingKey, Comparison, Condition, Level
from cdp_lib.identity.model import Model, TermFrequencies

_BUNDLED = files("cdp_lib.identity") / "models"
_NAME = re.compile(r"[a-z][a-z0-9_]*")


def load_model(name_or_path: str) -> Model:
    """Return a trained model.

    Args:
        name_or_path: Name of a model of the library, such as `retail`, or path of a model file.

    Raises:
        CdpError: The model does not exist, its file is damaged or edited by hand, or it is not trained.
    """
    model = read_model(name_or_path)
    untrained = [
        each.name for each in model.comparisons for level in each.levels if not (0 < level.m <= 1 and 0 < level.u <= 1)
    ]
    if untrained or model.prior >= 0:
        missing = f"comparison {untrained[0]} has levels without m and u" if untrained else "its prior is not below 0"
        raise CdpError(f"The model {name_or_path} is not trained: {missing}. `cdp identity train` trains one.")
    return model


def read_model(name_or_path: str) -> Model:
    """Return a model, trained or not. See `load_model`."""
    is_name = _NAME.fullmatch(name_or_path)
    file = _BUNDLED / f"{name_or_path}.json" if is_name else Path(name_or_path)
    if not file.is_file():
        known = ", ".join(sorted(each.name[:-5] for each in _BUNDLED.iterdir() if each.name.endswith(".json")))
        where = f"the library has the models {known}" if is_name else "there is no such file"
        raise CdpError(f"The identity model {name_or_path} does not exist: {where}.")
    try:
        model = _parse(json.loads(file.read_text(encoding="utf-8")))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise CdpError(f"The identity model {name_or_path} is damaged: {error}. Train it again.") from error
    return model


def model_json(model: Model) -> str:
    """Return the text of the file of a model. The version is the hash of everything else."""
    content = _content(model)
    return json.dumps(content | {"version": _version(content)}, indent=1, ensure_ascii=False) + "\n"


def _content(model: Model) -> dict[str, Any]:
    """Return a model as a JSON object without its version."""
    content = asdict(model)
    del content["version"]
    content["comparisons"] = [
        {**each, "levels": [_without_defaults(level, Level(level["name"])) for level in each["levels"]]}
        for each in content["comparisons"]
    ]
    return dict(json.loads(json.dumps(content)))  # tuples become lists, as in a file


def _without_defaults(level: Mapping[str, Any], default: Level) -> dict[str, Any]:
    """Return a level as a JSON object without the values that are defaults."""
    conditions = [
        {key: value for key, value in each.items() if value != getattr(Condition("", ""), key)}
        for each in level["when"]
    ]
    kept = {key: value for key, value in level.items() if key == "name" or value != getattr(default, key)}
    return kept | ({"when": conditions} if conditions else {})


def _version(content: Mapping[str, Any]) -> str:
    """Return the hash of the content of a file."""
    text = json.dumps({key: value for key, value in content.items() if key != "version"}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _parse(content: Mapping[str, Any]) -> Model:
    """Return the model that a JSON object describes.

    Raises:
        KeyError, TypeError, ValueError: The object is not a model.
    """
    version = _version(content)
    if content.get("version", version) != version:
        raise ValueError(f"its version is {content['version']}, but its content has the version {version}")
    return Model(
        name=str(content["name"]),
        version=version,
        prior=float(content["prior"]),
        comparisons=tuple(_comparison(each) for each in content["comparisons"]),
        blocks=tuple(_blocking_key(each) for each in content["blocks"]),
        training=tuple(_blocking_key(each) for each in content["training"]),
        term_frequencies={
            _column(column): TermFrequencies(
                {str(value): float(share) for value, share in each["values"].items()},
                float(each["rest"]),
                float(each["equal"]),
            )
            for column, each in content["term_frequencies"].items()
        },
    )


def _comparison(content: Mapping[str, Any]) -> Comparison:
    """Return a comparison. Its last level, and only this level, has no conditions."""
    levels = tuple(
        Level(**{**level, "when": tuple(_condition(each) for each in level.get("when", ()))})
        for level in content["levels"]
    )
    if [bool(level.when) for level in levels] != [True] * (len(levels) - 1) + [False]:
        raise ValueError(f"comparison {content['name']} needs exactly one level without conditions, the last one")
    return Comparison(str(content["name"]), tuple(_column(each) for each in content["columns"]), levels)


def _condition(content: Mapping[str, Any]) -> Condition:
    condition = Condition(**content)
    if condition.test not in TESTS or (condition.test == "swapped") != bool(condition.other):
        raise ValueError(f"{condition.test} is not a test of: {', '.join(TESTS)}")
    _column(condition.column), _column(condition.other or "none")
    if not (isinstance(condition.at_most, int) and isinstance(condition.min_length, int)):
        raise ValueError("at_most and min_length must be whole numbers")
    return condition


def _blocking_key(content: Mapping[str, Any]) -> BlockingKey:
    parts = tuple((_column(column), str(part)) for column, part in content["parts"])
    if unknown := [part for _, part in parts if part not in PARTS]:
        raise ValueError(f"{unknown[0]} is not a part of: {', '.join(PARTS)}")
    return BlockingKey(str(content["name"]), parts)


def _column(name: str) -> str:
    """Return the name of a column. It becomes part of SQL, so it must be a plain name."""
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name!r} is not the name of a column")
    return name
