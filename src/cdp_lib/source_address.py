"""Address of a source, without secrets. A landing location remembers the address of each entity's source."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from typing import Self

SAMPLES = "samples"
"""Kind of the sample sources of `cdp run`. Their addresses change with each run, so none is remembered."""

_HOSTS_OF_THIS_MACHINE = ("", "localhost", "127.0.0.1", "[::1]")
_REMOTE_PATHS = ("/Volumes/", "abfss://")


@dataclass(frozen=True)
class SourceAddress:
    """Address of a source. It has no user, password, token or query string.

    Attributes:
        kind: Kind of the source: `api`, `crm`, `files`, `samples`, or the name of a database system.
        host: Host, with the port if it is not the default port of the kind. Empty for files.
        database: Name of the database.
        schema: Schema of the tables, empty for the default schema of the login.
        path: Path on the host, path of a file or folder, or name of a table.
    """

    kind: str
    host: str = ""
    database: str = ""
    schema: str = ""
    path: str = ""

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Return the address from its text. Ignore unknown fields, which a later version may write.

        Raises:
            ValueError: The text is not an address.
        """
        values = json.loads(text)
        if not isinstance(values, dict) or not values.get("kind"):
            raise ValueError("it has no field 'kind'")
        return cls(**{field.name: str(values[field.name]) for field in fields(cls) if field.name in values})

    def to_json(self) -> str:
        """Return the text of `source.json`. Leave out empty fields."""
        return json.dumps({name: value for name, value in asdict(self).items() if value}, indent=2) + "\n"

    @property
    def is_on_this_machine(self) -> bool:
        """Whether the source is on this machine, as all sample sources are."""
        is_local_host = self.host.rsplit(":", 1)[0] in _HOSTS_OF_THIS_MACHINE or self.host in _HOSTS_OF_THIS_MACHINE
        return is_local_host and not self.path.startswith(_REMOTE_PATHS)

    def is_same_source(self, other: SourceAddress) -> bool:
        """Return whether two addresses belong to the same source.

        Sample sources have a new address in each run. Therefore, if the kind of one address is `samples`, it is enough
        that both addresses are on this machine.
        """
        samples = [each for each in (self, other) if each.kind == SAMPLES]
        return self == other or bool(samples) and all(each.is_on_this_machine for each in (self, other))

    def __str__(self) -> str:
        """Return the address for messages.

        >>> str(SourceAddress("postgresql", "db.example.com", "shop", "retail", "/products"))
        'postgresql db.example.com/shop/products (schema retail)'
        >>> str(SourceAddress("files", path="/data/events"))
        'files /data/events'
        """
        place = f"{self.host}{f'/{self.database}' if self.database else ''}{self.path}"
        return " ".join(filter(None, [self.kind, place, f"(schema {self.schema})" if self.schema else ""]))
