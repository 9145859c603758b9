"""The import law: each package imports only from those before it (design: `wire, express <- tasks <- …`)."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

SRC = Path(__file__).parents[1] / "src"
MAY_IMPORT = {
    "wire": set(),
    "express": set(),
    "tasks": {"wire", "express"},
    "flows": {"wire", "express", "tasks"},
    "coordinators": {"wire", "express", "tasks", "flows"},
    "routers": {"wire", "express", "tasks", "flows", "coordinators"},
    "headgate": {"wire", "express", "tasks", "flows", "coordinators", "routers"},
}


def imported_modules(path: Path) -> set[str]:
    modules = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative imports hide where a name comes from"
            modules.add(str(node.module))
    return modules


def violations(package: str, modules: set[str]) -> set[str]:
    allowed = MAY_IMPORT[package] | {package}
    ours = {module for module in modules if module.split(".")[0] in MAY_IMPORT}
    wrong = {module for module in ours if module.split(".")[0] not in allowed}
    if package == "coordinators":
        wrong.discard("headgate.settings")
    return wrong


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_imports_point_one_way(package):
    files = sorted((SRC / package).rglob("*.py"))
    assert files
    found = {str(path.relative_to(SRC)): violations(package, imported_modules(path)) for path in files}
    assert {path: wrong for path, wrong in found.items() if wrong} == {}


def test_every_source_folder_is_under_the_law():
    assert {path.name for path in SRC.iterdir() if path.is_dir() and path.name[0] not in "._"} == set(
        MAY_IMPORT
    )


def test_settings_are_a_leaf():
    ours = {
        name
        for name in imported_modules(SRC / "headgate" / "settings.py")
        if name.split(".")[0] in MAY_IMPORT
    }
    assert ours == set()


def test_the_law_can_be_broken():
    assert violations("wire", {"tasks.call", "orjson"}) == {"tasks.call"}
    assert violations("tasks", {"headgate.settings", "wire.sse"}) == {"headgate.settings"}
