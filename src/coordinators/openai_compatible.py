"""Any server that speaks OpenAI's chat wire: vLLM, llama.cpp, Ollama, or OpenAI itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar
from urllib.parse import urlsplit

from coordinators.http_backend import HttpBackend
from tasks.backend import Target
from tasks.model_names import strip_context_suffix
from wire.dialects import OPENAI, OPENAI_PLATFORM

if TYPE_CHECKING:
    from collections.abc import Mapping

    from coordinators.http_upstream import HttpUpstream
    from tasks.backend import Wire

_PLATFORM = "api.openai.com"


class OpenAICompatible(HttpBackend):
    """A server at `base_url`, which ends where `/chat/completions` begins. It takes every model's name.

    `api_key` may be empty: local servers have none.
    """

    paths: ClassVar[Mapping[Wire, str]] = {"chat": "/chat/completions"}

    def __init__(
        self, http: HttpUpstream, *, base_url: str, api_key: str = "", name: str = "openai_compatible"
    ) -> None:
        super().__init__(http, name=name, base_url=base_url, whose_key="OPENAI_COMPATIBLE_API_KEY")
        self._dialect = OPENAI_PLATFORM if urlsplit(base_url).hostname == _PLATFORM else OPENAI
        if api_key:
            self._headers["authorization"] = f"Bearer {api_key}"

    def find(self, asked: str) -> Target:
        """Take the name as it is: whether the server has the model, it says itself."""
        model = strip_context_suffix(asked)
        return Target(asked, model, "chat", self.whose_key, self.name, self._dialect)
