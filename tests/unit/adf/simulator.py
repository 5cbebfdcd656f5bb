"""Simulator of Data Factory. Folders replace the data lake, and Python objects replace the sources."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from xml.etree import ElementTree

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import sqlglot
from sqlglot import exp

from .expressions import Scope

Json = dict[str, Any]


class Crash(Exception):
    """The run is killed at this activity."""


class Failure(Exception):
    """An activity fails."""


@dataclass
class Simulator:
    """A simulated factory with its data lake and its sources. A run can be killed at any activity.

    Attributes:
        resources: Content of each resource file, by kind and name of the resource.
        lake: Folder that has one folder for each container of the data lake.
        database: Tables in the schema `dbo`.
        contacts: Rows of the CRM's table `contact`, by key.
        answers: Responses of the API by address.
        meanwhile: Function called with the name of each activity before the activity runs.
        crash_at: Number of the activity, counted from 1, at which the run is killed. If this activity is a copy, it
            leaves an incomplete file.
        steps: Number of activities run so far.
        now: Simulated time. It advances by a second with each activity.
        ran: Name and evaluated properties of each activity run so far.
    """

    resources: Mapping[str, Mapping[str, Json]]
    lake: Path
    database: duckdb.DuckDBPyConnection = field(default_factory=duckdb.connect)
    contacts: Mapping[str, Json] = field(default_factory=dict)
    answers: dict[str, bytes] = field(default_factory=dict)
    meanwhile: Callable[[str], None] = lambda name: None
    crash_at: int | None = None
    steps: int = 0
    now: datetime = datetime(2026, 1, 31, 23, 0, tzinfo=UTC)
    ran: list[tuple[str, Json]] = field(default_factory=list)

    @property
    def global_parameters(self) -> Json:
        """Global parameters by name."""
        (factory,) = self.resources["factory"].values()
        return {name: value["value"] for name, value in factory["properties"]["globalParameters"].items()}

    def run(self, pipeline: str, **parameters: Any) -> None:
        """Run a pipeline."""
        properties = self.resources["pipeline"][pipeline]["properties"]
        defaults = {name: one.get("defaultValue") for name, one in properties.get("parameters", {}).items()}
        assert set(parameters) <= set(defaults), f"{pipeline} has no parameter {set(parameters) - set(defaults)}"
        scope = self._scope(
            pipeline={
                "parameters": defaults | parameters,
                "globalParameters": self.global_parameters,
                "TriggerTime": f"{self.now:%Y-%m-%dT%H:%M:%S}.1234567Z",
            }
        )
        scope.variables |= dict.fromkeys(properties.get("variables", {}), "")
        self._run_all(properties["activities"], scope)

    def _scope(self, **names: Any) -> Scope:
        return Scope(lambda: self.now, names)

    def _run_all(self, activities: list[Json], scope: Scope) -> None:
        """Run activities in the order of the file. Check that each activity comes after its dependencies."""
        done: set[str] = set()
        for activity in activities:
            for dependency in activity["dependsOn"]:
                assert dependency["dependencyConditions"] == ["Succeeded"]
                assert dependency["activity"] in done, f"{activity['name']} comes before an activity that it depends on"
            self._run_one(activity, scope)
            done.add(activity["name"])

    def _run_one(self, activity: Json, scope: Scope) -> None:
        self.now += timedelta(seconds=1)
        kind, properties = activity["type"], activity["typeProperties"]
        if kind == "ForEach":
            for item in scope.evaluate(properties["items"]):
                self._run_all(properties["activities"], _with_item(scope, item))
            return
        if kind == "IfCondition":
            branch = "ifTrueActivities" if scope.evaluate(properties["expression"]) else "ifFalseActivities"
            return self._run_all(properties.get(branch, []), scope)
        if kind == "Switch":
            value = scope.evaluate(properties["on"])
            cases = {case["value"]: case["activities"] for case in properties["cases"]}
            return self._run_all(cases.get(value, properties["defaultActivities"]), scope)
        if kind == "Filter":
            items = scope.evaluate(properties["items"])
            chosen = [one for one in items if _with_item(scope, one).evaluate(properties["condition"])]
            scope.outputs[activity["name"]] = {"value": chosen}
            return
        if kind == "ExecutePipeline":
            return self.run(properties["pipeline"]["referenceName"], **scope.evaluate(properties["parameters"]))
        self.meanwhile(activity["name"])
        self.steps += 1
        if self.steps == self.crash_at and kind != "Copy":
            raise Crash
        self.ran.append((activity["name"], scope.evaluate({k: v for k, v in activity.items() if k != "dependsOn"})))
        scope.outputs[activity["name"]] = getattr(self, f"_{kind}")(activity, properties, scope)

    def _Fail(self, activity: Json, properties: Json, scope: Scope) -> None:  # noqa: N802
        raise Failure(scope.evaluate(properties["message"]))

    def _SetVariable(self, activity: Json, properties: Json, scope: Scope) -> None:  # noqa: N802
        value = scope.evaluate(properties["value"])
        assert isinstance(value, str) and properties["variableName"] in scope.variables
        scope.variables[properties["variableName"]] = value

    def _GetMetadata(self, activity: Json, properties: Json, scope: Scope) -> Json:  # noqa: N802
        path = self.path_of(properties["dataset"], scope)
        if not path.exists():
            if "exists" in properties["fieldList"]:
                return {"exists": False}
            raise Failure(f"{path} does not exist")
        output: Json = {"exists": True}
        if "childItems" in properties["fieldList"]:
            settings = scope.evaluate(properties["storeSettings"])
            since, until = (settings.get(f"modifiedDatetime{end}") for end in ("Start", "End"))
            output["childItems"] = [
                {"name": child.name, "type": "Folder" if child.is_dir() else "File"}
                for child in sorted(path.iterdir())
                if until is None
                or child.is_file()
                and datetime.fromisoformat(since).timestamp()
                <= child.stat().st_mtime
                < datetime.fromisoformat(until).timestamp()
            ]
        return output

    def _Delete(self, activity: Json, properties: Json, scope: Scope) -> None:  # noqa: N802
        assert properties["storeSettings"]["recursive"]
        shutil.rmtree(self.path_of(properties["dataset"], scope))

    def _Lookup(self, activity: Json, properties: Json, scope: Scope) -> Json:  # noqa: N802
        if properties["source"]["type"] == "AzureSqlSource":
            rows = self._query(scope.evaluate(properties["source"]["sqlReaderQuery"])).to_pylist()
        else:
            content = json.loads(self.path_of(properties["dataset"], scope).read_text(encoding="utf-8"))
            rows = content if isinstance(content, list) else [content]
        return {"firstRow": rows[0]} if properties["firstRowOnly"] else {"value": rows}

    def _WebActivity(self, activity: Json, properties: Json, scope: Scope) -> Json:  # noqa: N802
        url = urlsplit(scope.evaluate(properties["url"]))
        assert (properties["method"], url.scheme) == ("PUT", "https")
        assert url.netloc == f"{self.global_parameters['lake_account']}.blob.core.windows.net"
        path = self.lake / url.path.removeprefix("/")
        if scope.evaluate(properties["headers"]).get("If-None-Match") == "*" and path.exists():
            raise Failure(f"409 {url.path} exists")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(scope.evaluate(properties["body"]), encoding="utf-8")
        return {}

    def _DatabricksJob(self, activity: Json, properties: Json, scope: Scope) -> Json:  # noqa: N802
        return {}

    def _Copy(self, activity: Json, properties: Json, scope: Scope) -> Json:  # noqa: N802
        (source_dataset,), (sink_dataset,) = activity["inputs"], activity["outputs"]
        target = self.path_of(sink_dataset, scope)
        target.parent.mkdir(parents=True, exist_ok=True)
        if self.steps == self.crash_at:
            target.write_bytes(b'{"half a ')
            raise Crash
        source, sink = scope.evaluate(properties["source"]), properties["sink"]["type"]
        address = partial(self._dataset, source_dataset, scope)
        match source["type"]:
            case "AzureSqlSource":
                rows: Any = self._query(source["sqlReaderQuery"])
            case "CommonDataServiceForAppsSource":
                rows = self._fetch(source["query"], address()["entityName"], scope.evaluate(properties["translator"]))
            case "RestSource":
                service, relative = address("url"), address()["relativeUrl"]
                rows = json.loads(self.answers[f"{service}/{relative}"])
            case "JsonSource":
                rows = json.loads(self.path_of(source_dataset, scope).read_bytes())
            case "DelimitedTextSource":
                with self.path_of(source_dataset, scope).open(encoding="utf-8-sig", newline="") as file:
                    rows = [{k: v for k, v in row.items() if v != ""} for row in csv.DictReader(file)]
            case "BinarySource":
                assert sink == "BinarySink"
                shutil.copyfile(self.path_of(source_dataset, scope), target)
                return {"filesWritten": 1}
        return _write(rows, target, sink, properties["sink"]["formatSettings"].get("filePattern"))

    def _query(self, query: str) -> pa.Table:
        """Run a T-SQL query on the source tables, which are in DuckDB."""
        statement = sqlglot.parse_one(query, read="tsql").transform(_for_duckdb)
        return self.database.sql(statement.sql("duckdb")).to_arrow_table()

    def _fetch(self, query: str, table: str, mapping: Json) -> pa.Table:
        entity = ElementTree.fromstring(query).find("entity")
        assert entity is not None and entity.get("name") == table == "contact"
        compare: dict[str, Callable[[str, str], bool]] = {"le": lambda x, y: x <= y, "gt": lambda x, y: x > y}
        conditions = [
            (one.attrib["attribute"], compare[one.attrib["operator"]], one.attrib["value"])
            for one in entity.iter("condition")
        ]
        columns = [one.attrib["name"] for one in entity.iter("attribute")]
        names = {one["source"]["name"]: one["sink"]["name"] for one in mapping["mappings"]}
        assert set(names) <= set(columns)
        rows = [
            {names[column]: contact.get(column) for column in names}
            for contact in self.contacts.values()
            if all(holds(contact[column], value) for column, holds, value in conditions)
        ]
        return pa.Table.from_pylist(rows, pa.schema([(name, pa.string()) for name in names.values()]))

    def path_of(self, reference: Json, scope: Scope) -> Path:
        """Return the path of the file or folder in the lake that a reference to a dataset stands for."""
        url, location = self._dataset(reference, scope, "url"), self._dataset(reference, scope)["location"]
        assert url == f"https://{self.global_parameters['lake_account']}.dfs.core.windows.net/"
        return self.lake / location["fileSystem"] / location["folderPath"] / location.get("fileName", "")

    def _dataset(self, reference: Json, scope: Scope, of_service: str | None = None) -> Any:
        """Return the properties of a dataset, with expressions evaluated.

        If `of_service` is given, return the property with this name from the linked service of the dataset instead.
        """
        properties = self.resources["dataset"][reference["referenceName"]]["properties"]
        inner = self._scope(dataset=scope.evaluate(reference.get("parameters", {})))
        if of_service is None:
            return inner.evaluate(properties["typeProperties"])
        service = properties["linkedServiceName"]
        outer = self._scope(linkedService=inner.evaluate(service.get("parameters", {})))
        declared = self.resources["linkedService"][service["referenceName"]]["properties"]["typeProperties"]
        return outer.evaluate(declared[of_service])


def _for_duckdb(node: exp.Expression) -> exp.Expression:
    """Convert a T-SQL node for DuckDB, which has no national strings (N'…') and no style argument in CONVERT."""
    match node:
        case exp.National():
            return exp.Literal.string(node.name)
        case exp.Convert():
            return exp.cast(node.expression, "text")
        case _:
            return node


def _with_item(scope: Scope, item: Any) -> Scope:
    return Scope(scope.clock, scope.names | {"item": item}, scope.variables, dict(scope.outputs))


def _write(rows: Any, target: Path, sink: str, pattern: str | None) -> Json:
    if sink == "ParquetSink":
        pq.write_table(rows, target)
    else:
        assert sink == "JsonSink"
        records = list(rows)
        lines = "".join(json.dumps(record) + "\n" for record in records)
        target.write_text(lines if pattern == "setOfObjects" else json.dumps(records), encoding="utf-8")
    return {"rowsCopied": len(rows)}
