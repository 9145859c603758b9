"""Which backend a model's name means: prefixes, aliases, a table of routes, and fallbacks."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, TypeVar

from tasks.backend import Route, Target
from tasks.model_names import strip_context_suffix
from wire.errors import NotFound

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from coordinators.lanes import BackendLanes

T = TypeVar("T")
_KNOWN = 1000


class RoutingTable:
    """Every backend that is configured, the default one first (`tasks.backend.Backends`).

    A name is looked at in this order: a backend's prefix (`databricks:claude-sonnet-4`); `routes`, from
    names or patterns to `backend` or `backend:model`; `aliases`, whose values may have a prefix; the default
    backend. `fallbacks` are names to go on with, by name or pattern. `prefixes` are all that there could be.
    """

    def __init__(
        self,
        backends: Iterable[BackendLanes],
        *,
        aliases: Mapping[str, str] | None = None,
        routes: Mapping[str, str] | None = None,
        fallbacks: Mapping[str, Sequence[str]] | None = None,
        prefixes: Iterable[str] = (),
    ) -> None:
        self.backends = {backend.name: backend for backend in backends}
        self.default = next(iter(self.backends.values()))
        self.aliases = aliases or {}
        self._table = routes or {}
        self._fallbacks = fallbacks or {}
        self._prefixes = {*prefixes, *self.backends}
        self._routes: dict[str, tuple[Route, ...]] = {}

    def routes(self, asked: str) -> tuple[Route, ...]:
        """Give the first choice and its fallbacks; raises NotFound. Each target says what was asked for."""
        known = self._routes.get(asked)
        if known is None:
            known = self._find(asked)
            if len(self._routes) < _KNOWN:
                self._routes[asked] = known
        return known

    def target(self, asked: str) -> Target:
        """Give the first choice's target; raises NotFound."""
        return self.routes(asked)[0].target

    def check(self) -> None:
        """Raise NotFound if a route or a fallback leads nowhere."""
        for place in self._table.values():
            name, _, model = place.partition(":")
            self._backend(name).target(model or "claude-sonnet-4")
        for names in self._fallbacks.values():
            for name in names:
                self._first(name)

    def named_models(self) -> list[str]:
        """Give the models that the settings name, as their backends call them."""
        names = [*self.aliases, *self._table, *(name for names in self._fallbacks.values() for name in names)]
        models: dict[str, None] = {}
        for name in names:
            with suppress(NotFound):  # a pattern of the table
                models |= dict.fromkeys(route.target.model for route in self.routes(name))
        return [model for model in models if "*" not in model]

    def _find(self, asked: str) -> tuple[Route, ...]:
        names = [asked, *(_matching(self._fallbacks, asked) or ())]
        routes: dict[tuple[str, str], Route] = {}
        for name in names:
            route = self._first(name)
            target = replace(route.target, asked=asked)
            routes.setdefault((target.backend, target.model), Route(target, route.backend))
        return tuple(routes.values())

    def _first(self, asked: str) -> Route:
        backend, model = self._split(asked)
        if backend is None and (place := _matching(self._table, asked)) is not None:
            name, _, other = place.partition(":")
            backend, model = self._backend(name), other or asked
        alias = _exactly(self.aliases, model)
        if alias is not None:
            model = alias
            if backend is None:
                backend, model = self._split(alias)
        backend = backend or self.default
        try:
            return Route(backend.target(model), backend)
        except NotFound as error:
            raise NotFound(error.message + self._hint(asked)) from None

    def _split(self, name: str) -> tuple[BackendLanes | None, str]:
        """Take a backend's prefix off. Other names may have a colon: `openai/gpt-5:nitro`, `llama3:8b`."""
        prefix, colon, rest = name.partition(":")
        if colon and prefix in self._prefixes:
            return self._backend(prefix), rest
        return None, name

    def _backend(self, name: str) -> BackendLanes:
        if name in self.backends:
            return self.backends[name]
        known = ", ".join(self.backends)
        why = "has no key or address in the settings" if name in self._prefixes else "is no backend"
        raise NotFound(f"model: {name[:80]!r} {why}; those here are {known}")

    def _hint(self, asked: str) -> str:
        aliases = f"; aliases are {', '.join(sorted(self.aliases))}" if self.aliases else ""
        prefix = f"; prefixes are {', '.join(f'{name}:' for name in self.backends)}" if ":" in asked else ""
        return aliases + prefix


def _exactly(table: Mapping[str, T], name: str) -> T | None:
    found = table.get(name)
    return found if found is not None else table.get(strip_context_suffix(name))


def _matching(table: Mapping[str, T], name: str) -> T | None:
    """Give the entry of a name: its own, or that of the first pattern that fits."""
    if (found := _exactly(table, name)) is not None:
        return found
    plain = strip_context_suffix(name)
    return next((value for pattern, value in table.items() if fnmatchcase(plain, pattern)), None)
