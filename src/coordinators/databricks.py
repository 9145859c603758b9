"""Azure Databricks: Claude on Anthropic's wire, and every serving endpoint on OpenAI's.

What its chat endpoints refuse is in `wire.dialects.DATABRICKS` and `DATABRICKS_CLAUDE`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, ClassVar, Literal

from yarl import URL

from coordinators.http_backend import HttpBackend
from tasks.backend import Target
from tasks.model_names import databricks_name
from wire.dialects import DATABRICKS, DATABRICKS_CLAUDE
from wire.errors import NotFound

if TYPE_CHECKING:
    from collections.abc import Mapping

    from coordinators.http_upstream import HttpUpstream
    from tasks.backend import Outgoing, Wire

# What an endpoint may be called; the name becomes part of an address.
_ENDPOINT = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.\-]*")
_CLAUDE = re.compile(r"(?:^|[^a-z])claude(?:[^a-z]|$)")


class Databricks(HttpBackend):
    """A Databricks workspace's model serving.

    `models` is a table from names to endpoints, before the rule for Claude names. `wire` `auto` takes the
    messages wire for `databricks-claude-*` and the chat wire for every other endpoint.
    """

    paths: ClassVar[Mapping[Wire, str]] = {"messages": "/serving-endpoints/anthropic/v1/messages"}
    models_path: ClassVar[str] = "/api/2.0/serving-endpoints"

    def __init__(
        self,
        http: HttpUpstream,
        *,
        host: str,
        token: str,
        models: Mapping[str, str],
        wire: Literal["auto", "messages", "chat"] = "auto",
        name: str = "databricks",
    ) -> None:
        base_url = host if "://" in host else f"https://{host}"
        super().__init__(http, name=name, base_url=base_url, whose_key="DATABRICKS_TOKEN")
        self._models = models
        self._wire = wire
        self._headers["authorization"] = f"Bearer {token}"

    def find(self, asked: str) -> Target:
        """Find the endpoint for a model's name; raises NotFound for what no endpoint can be called."""
        model = self._models.get(asked) or databricks_name(asked)
        model = self._models.get(model, model)
        if not _ENDPOINT.fullmatch(model):
            raise NotFound(
                f"model: {asked[:200]!r} is no name of a Databricks endpoint. Use a Claude name "
                "(claude-sonnet-4-5), an endpoint's name (databricks-gpt-oss-120b), or DATABRICKS_MODELS"
            )
        claude = _CLAUDE.search(model) is not None
        dialect = DATABRICKS_CLAUDE if claude else DATABRICKS
        return Target(asked, model, self._wire_of(model), self.whose_key, self.name, dialect)

    def _wire_of(self, model: str) -> Wire:
        if self._wire == "auto":
            return "messages" if model.startswith("databricks-claude-") else "chat"
        return self._wire

    def url(self, outgoing: Outgoing) -> URL:
        """Give the address: on the chat wire each endpoint has its own."""
        if outgoing.wire == "messages":
            return self._urls["messages"]
        return URL(f"{self.base_url}/serving-endpoints/{outgoing.context.upstream_model}/invocations")
