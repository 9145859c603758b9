"""Check branch coverage: 100 % of `wire` and `express`, 90 % of everything.

usage: check_coverage.py REPORT.json
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

LIMITS = {"src/wire/": 100.0, "src/express/": 100.0, "src/": 90.0}


def main(report: str) -> int:
    """Compare the report's figures with the limits."""
    files = json.loads(Path(report).read_text())["files"]
    failed = False
    for prefix, limit in LIMITS.items():
        measured = {name: data["summary"] for name, data in files.items() if name.startswith(prefix)}
        total = sum(s["num_statements"] + s["num_branches"] for s in measured.values())
        covered = sum(s["covered_lines"] + s["covered_branches"] for s in measured.values())
        percent = 100 * covered / total if total else 0.0
        print(f"{prefix:<14} {percent:6.2f} % (limit {limit:g} %)")  # noqa: T201 - a command's output
        if percent < limit:
            failed = True
            for name, data in sorted(files.items()):
                if name.startswith(prefix) and data["summary"]["percent_covered"] < limit:
                    lines = data["missing_lines"]
                    branches = data.get("missing_branches")
                    print(f"  {name}: lines {lines}, branches {branches}")  # noqa: T201 - likewise
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
