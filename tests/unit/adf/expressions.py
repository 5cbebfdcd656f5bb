"""Evaluate the part of Data Factory's expression language that the pipelines use. Other expressions are errors.

All arguments of a function are evaluated, including both branches of `if`. An expression is therefore an error if it
fails in either branch.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cache
from typing import Any
from urllib.parse import quote

_TOKEN = re.compile(r"\s*(?:('(?:[^']|'')*')|(\d+)|(-\d+)|([A-Za-z_]\w*)|(\?\.|[.,()]))")
_WORDS = {"true": True, "false": False, "null": None}
_DATE_PARTS = {"yyyy": "%Y", "MM": "%m", "dd": "%d", "HH": "%H", "mm": "%M", "ss": "%S"}


@dataclass
class Scope:
    """Values that an expression can refer to: time, names, variables, and outputs of earlier activities."""

    clock: Callable[[], datetime]
    names: dict[str, Any] = field(default_factory=dict)
    variables: dict[str, Any] = field(default_factory=dict)
    outputs: dict[str, Any] = field(default_factory=dict)

    def __call__(self, function: str, arguments: list[Any]) -> Any:
        match function, arguments:
            case "utcNow", []:
                return f"{self.clock():%Y-%m-%dT%H:%M:%S.%f}0Z"
            case "variables", [name]:
                return self.variables[name]
            case "activity", [name]:
                return {"output": self.outputs[name]}
            case name, [] if name in self.names:
                return self.names[name]
            case _:
                return FUNCTIONS[function](*arguments)

    def evaluate(self, value: Any) -> Any:
        """Return a value of a resource after its expressions have been evaluated."""
        if isinstance(value, Mapping):
            if value.get("type") == "Expression":
                return self.evaluate(value["value"])
            return {key: self.evaluate(entry) for key, entry in value.items()}
        if isinstance(value, list):
            return [self.evaluate(entry) for entry in value]
        if not isinstance(value, str):
            return value
        if value.startswith("@") and not value.startswith("@{"):
            return parse(value[1:])(self)
        return re.sub(r"@\{(.*?)\}", lambda match: str(parse(match[1])(self)), value)


def expressions_in(value: Any) -> Iterator[str]:
    """Yield the text of every expression inside a value of a resource."""
    if isinstance(value, Mapping):
        for entry in value.values():
            yield from expressions_in(entry)
    elif isinstance(value, list):
        for entry in value:
            yield from expressions_in(entry)
    elif isinstance(value, str):
        yield from [value[1:]] if value.startswith("@") and value[1:2] != "{" else re.findall(r"@\{(.*?)\}", value)


def _format(instant: str, style: str) -> str:
    time = _to_datetime(instant)
    if style == "R":
        return f"{time:%a, %d %b %Y %H:%M:%S} GMT"
    text = re.sub("|".join(_DATE_PARTS), lambda part: _DATE_PARTS[part[0]], style)
    assert not set(re.sub("%.", "", text)) - set("-:TZ"), f"date format {style} is not supported here"
    return time.strftime(text)


def _to_datetime(instant: str) -> datetime:
    return datetime.fromisoformat(instant)


def _moved(instant: str, **by: int) -> str:
    return f"{_to_datetime(instant) + timedelta(**by):%Y-%m-%dT%H:%M:%S.%f}0Z"


def _string(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))


def _concat(*texts: str) -> str:
    assert all(isinstance(text, str) for text in texts), texts
    return "".join(texts)


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "addMinutes": lambda instant, minutes: _moved(instant, minutes=minutes),
    "addSeconds": lambda instant, seconds: _moved(instant, seconds=seconds),
    "and": lambda one, other: one and other,
    "coalesce": lambda *values: next((value for value in values if value is not None), None),
    "concat": _concat,
    "empty": lambda value: not value,
    "encodeUriComponent": lambda text: quote(text, safe="!~*'()-_."),
    "endswith": lambda text, end: text.endswith(end),
    "equals": lambda one, other: one == other,
    "formatDateTime": _format,
    "greater": lambda one, other: one > other,
    "if": lambda condition, true, false: true if condition else false,
    "join": lambda texts, separator: separator.join(texts),
    "not": lambda value: not value,
    "or": lambda one, other: one or other,
    "replace": lambda text, old, new: text.replace(old, new),
    "startswith": lambda text, start: text.startswith(start),
    "string": _string,
    "substring": lambda text, start, length: text[start : start + length],
}

_Node = Callable[[Scope], Any]


@cache
def parse(text: str) -> _Node:
    """Parse the text of an expression. The text does not include the `@` in front of the expression."""
    return _Parser(text).parse()


class _Parser:
    def __init__(self, text: str) -> None:
        self._text, self._at = text, 0

    def parse(self) -> _Node:
        node = self._expression()
        if self._at != len(self._text):
            raise SyntaxError(f"{self._text[self._at :]!r} follows an expression")
        return node

    def _next(self) -> re.Match[str]:
        if not (token := _TOKEN.match(self._text, self._at)):
            raise SyntaxError(f"no token at {self._text[self._at :]!r}")
        self._at = token.end()
        return token

    def _take(self, symbol: str) -> bool:
        token = _TOKEN.match(self._text, self._at)
        taken = bool(token and token[5] == symbol)
        self._at = token.end() if token and taken else self._at
        return taken

    def _expression(self) -> _Node:
        text, number, negative, word, symbol = self._next().groups()
        if symbol:
            raise SyntaxError(f"{symbol!r} begins an expression in {self._text!r}")
        if text is not None:
            return self._fields(_constant(text[1:-1].replace("''", "'")))
        if number or negative:
            return _constant(int(number or negative))
        if word in _WORDS:
            return _constant(_WORDS[word])
        if not self._take("("):
            raise SyntaxError(f"{word} is no function call in {self._text!r}")
        arguments: list[_Node] = []
        while not self._take(")"):
            if arguments and not self._take(","):
                raise SyntaxError(f"no comma at {self._text[self._at :]!r}")
            arguments.append(self._expression())
        return self._fields(lambda scope: scope(word, [argument(scope) for argument in arguments]))

    def _fields(self, node: _Node) -> _Node:
        while (optional := self._take("?.")) or self._take("."):
            node = _field_of(node, self._next()[4], optional)
        return node


def _constant(value: Any) -> _Node:
    return lambda scope: value


def _field_of(node: _Node, name: str, optional: bool) -> _Node:
    def field_of(scope: Scope) -> Any:
        value = node(scope)
        return (value or {}).get(name) if optional else value[name]

    return field_of
