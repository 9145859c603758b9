"""Finds in the source every place that can raise or catch: steps, pipelines, `raise` and `except`."""

from __future__ import annotations

import ast
from dataclasses import asdict, dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from express.origins import PACKAGES, ROOT, hash_of, module_named

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

Kind: TypeAlias = Literal["pipeline", "step", "raise", "except"]


@dataclass(frozen=True, slots=True)
class Site:
    """A place in the code. `type` is what it raises or catches, empty where the source does not say.

    `hash` is the one that an error raised there has at run time; None where the source alone cannot tell: of
    an `except`, of a step as a whole, of a `raise` of something that a variable holds.
    """

    kind: Kind
    module: str
    function: str
    file: str
    line: int
    code: str
    type: str = ""
    hash: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Give it for JSON."""
        return asdict(self)


@cache
def all_sites() -> tuple[Site, ...]:
    """Give every site of our own packages, by file and line. Reads all the source: seconds, once."""
    files = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]
    sources = {path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8") for path in files}
    return tuple(sites_of(sources))


def sites_of(sources: Mapping[str, str]) -> Iterator[Site]:
    """Give the sites of sources, by their paths within the package folder."""
    trees = {file: ast.parse(source) for file, source in sources.items()}
    makers = _unambiguous(_makers(tree) for tree in trees.values())
    for file, tree in trees.items():
        visitor = _Visitor(file, sources[file].splitlines(), makers | _makers(tree))
        visitor.visit(tree)
        yield from sorted(visitor.sites, key=lambda site: site.line)


class _Visitor(ast.NodeVisitor):
    def __init__(self, file: str, lines: list[str], makers: Mapping[str, str]) -> None:
        self.sites: list[Site] = []
        self._file = file
        self._module = module_named(file)
        self._lines = lines
        self._names: list[str] = []
        self._makers = makers

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        self._within(node, [node.name])

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        self._function(node)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> None:
        self._function(node)

    def visit_Lambda(self, node: ast.Lambda) -> None:
        self._within(node, ["<lambda>", "<locals>"])

    def visit_Raise(self, node: ast.Raise) -> None:
        kind = self._raised(node.exc)
        self._add("raise", node.lineno, kind, hashed=bool(kind))
        self.generic_visit(node)

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> None:
        caught = ast.unparse(node.type) if node.type is not None else "BaseException"
        self._add("except", node.lineno, caught.strip("()"))
        self.generic_visit(node)

    def _function(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        for decorator in node.decorator_list:
            name = _called(decorator)
            if name in {"step", "pipeline"}:
                self._names.append(node.name)
                self._add("step" if name == "step" else "pipeline", node.lineno)
                self._names.pop()
        self._within(node, [node.name, "<locals>"])

    def _within(self, node: ast.AST, names: list[str]) -> None:
        self._names += names
        self.generic_visit(node)
        del self._names[-len(names) :]

    def _add(self, kind: Kind, line: int, what: str = "", *, hashed: bool = False) -> None:
        names = self._names[:-1] if self._names and self._names[-1] == "<locals>" else self._names
        function = ".".join(names) or "<module>"
        code = self._lines[line - 1].strip()
        known = hash_of(self._module, function, code, what) if hashed else None
        self.sites.append(Site(kind, self._module, function, self._file, line, code, what, known))

    def _raised(self, raised: ast.expr | None) -> str:
        """Name the type of what is raised, where the source says it: a class, or what a function returns."""
        name = _called(raised) if raised is not None else ""
        if _is_class(name):
            return name
        return self._makers.get(name, "") if isinstance(raised, ast.Call) else ""


def _called(node: ast.expr) -> str:
    """Give the last name of what is called or named: `GatewayError` of `errors.GatewayError(…)`."""
    if isinstance(node, ast.Call):
        node = node.func
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""


def _makers(tree: ast.Module) -> dict[str, str]:
    """Give the functions and methods of a module that return an error, by name, as they are annotated."""
    return {
        node.name: node.returns.id
        for node in _functions(tree)
        if isinstance(node.returns, ast.Name) and _is_class(node.returns.id)
    }


def _unambiguous(tables: Iterable[Mapping[str, str]]) -> dict[str, str]:
    """Merge the modules' tables: functions are imported by name; one that means two types means none."""
    merged: dict[str, set[str]] = {}
    for table in tables:
        for name, kind in table.items():
            merged.setdefault(name, set()).add(kind)
    return {name: kinds.pop() for name, kinds in merged.items() if len(kinds) == 1}


def _is_class(name: str) -> bool:
    return name.lstrip("_")[:1].isupper()


def _functions(tree: ast.Module) -> Iterator[ast.FunctionDef]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))
