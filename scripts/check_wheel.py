"""Build the wheel and check it: exactly our packages, typed, with no name that another distribution owns."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import zipfile
from importlib.metadata import packages_distributions
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGES = {path.name for path in (ROOT / "src").iterdir() if (path / "__init__.py").is_file()}


def build(folder: str) -> Path:
    """Build the wheel into `folder` with the build tools of this environment."""
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, str(ROOT)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)  # noqa: S603 - our own command
    return next(Path(folder).glob("*.whl"))


def problems(names: list[str]) -> list[str]:
    """Say what is wrong with a wheel that holds these files."""
    found = {name.split("/")[0] for name in names if ".dist-info/" not in name}
    wrong = [f"unexpected in the wheel: {name}" for name in sorted(found - PACKAGES)]
    wrong += [f"missing from the wheel: {name}" for name in sorted(PACKAGES - found)]
    wrong += [f"{name} has no py.typed" for name in sorted(PACKAGES) if f"{name}/py.typed" not in names]
    wrong += [
        f"not a part of the program: {name}" for name in names if "/tests/" in name or name.endswith(".pyc")
    ]
    sources = {str(path.relative_to(ROOT / "src")) for path in (ROOT / "src").rglob("*.py")}
    wrong += [f"missing from the wheel: {name}" for name in sorted(sources - set(names))]
    owners = packages_distributions()
    for package in sorted(PACKAGES):
        others = set(owners.get(package, [])) - {"headgate"}
        wrong += [f"{package} is a package of {other} too" for other in sorted(others)]
    return wrong


def main() -> int:
    """Build, check, and say what is wrong."""
    with tempfile.TemporaryDirectory() as folder:
        wheel = build(folder)
        with zipfile.ZipFile(wheel) as archive:
            names = archive.namelist()
    wrong = problems(names)
    print(f"{wheel.name}: {len(names)} files, {', '.join(sorted(PACKAGES))}")  # noqa: T201 - a command's output
    for line in wrong:
        print(line)  # noqa: T201 - likewise
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
