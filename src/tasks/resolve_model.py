"""Find the backend's model for the name the client asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from express import step

if TYPE_CHECKING:
    from tasks.backend import Backend, Target
    from wire.messages import Json


@step
def resolve_model(body: Json, backend: Backend) -> Target:
    """Give model and wire for the request; raises NotFound if the backend has no such model."""
    return backend.target(body["model"])
