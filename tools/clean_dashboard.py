"""Removes the catalog and the schema that the Databricks CLI writes into each dataset of a generated dashboard.

The bundle sets both for each target. The keys of the file stay in the order of the CLI, which is alphabetical.
"""

import json
import sys
from pathlib import Path

DASHBOARD = Path("resources/dashboards/cdp.lvdash.json")


def cleaned(text: str) -> str:
    """Return the text of a dashboard without the catalog and the schema of its datasets, in the format of the CLI."""
    dashboard = json.loads(text)
    for dataset in dashboard["datasets"]:
        dataset.pop("catalog", None)
        dataset.pop("schema", None)
    return json.dumps(dashboard, ensure_ascii=False, indent=2, sort_keys=True) + "\n"


def main(paths: list[str]) -> None:
    """Clean the files of dashboards in place; without paths, the dashboard of the bundle."""
    for path in [Path(path) for path in paths] or [DASHBOARD]:
        path.write_text(cleaned(path.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
