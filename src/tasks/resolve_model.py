"""Find the backend and its model for the name the client asked for, and who answers if that fails."""

from __future__ import annotations

from typing import TYPE_CHECKING

from express import step

if TYPE_CHECKING:
    from tasks.backend import Backends, Route
    from wire.messages import Json


@step
def resolve_model(body: Json, backends: Backends) -> tuple[Route, ...]:
    """Give the routes for the request, the first choice first; raises NotFound if nobody has the model."""
    return backends.routes(body["model"])
