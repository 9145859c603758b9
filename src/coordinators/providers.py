"""The providers of the universal stream: how each is reached, and by which variables it is configured.

Variables have the names that LiteLLM reads; LiteLLM itself is always told, so that it reads none.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urljoin

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Provider:
    """One provider.

    `litellm` is LiteLLM's name for it, `tables` those that its model table uses. `needed` are the variables
    that configure it, each with LiteLLM's argument: of alternatives, `A|B`, one is enough. `optional` go
    along if they are set. `base` is the address where no variable names another.
    """

    name: str
    litellm: str
    tables: frozenset[str]
    needed: Mapping[str, str]
    optional: Mapping[str, str]
    base: str = ""
    health_path: str = ""
    key_header: str = "authorization"

    def missing(self, environment: Mapping[str, str]) -> list[str]:
        """Give the needed variables that are not set, alternatives with an "or"."""
        return [names.replace("|", " or ") for names in self.needed if _first(names, environment) is None]

    def access(self, environment: Mapping[str, str]) -> dict[str, str]:
        """Give LiteLLM's arguments that hold keys and addresses."""
        given = {"api_base": self.base} if self.base else {}
        for names, argument in (self.needed | self.optional).items():  # type: ignore[operator]
            if (value := _first(names, environment)) is not None:
                given[argument] = value
        return given

    def health_request(self, environment: Mapping[str, str]) -> tuple[str, dict[str, str]]:
        """Give address and headers of a question that costs nothing: the list of models, mostly.

        Bedrock's runtime has no such question; whatever it answers to an unsigned one says that it is there.
        """
        access = self.access(environment)
        base = access.get("api_base") or access.get("aws_bedrock_runtime_endpoint")
        if base is None:
            base = f"https://bedrock-runtime.{access['aws_region_name']}.amazonaws.com"
        address = urljoin(f"{base.rstrip('/')}/", self.health_path)
        if version := access.get("api_version"):
            address += f"?api-version={version}"
        key = access.get("api_key")
        value = f"Bearer {key}" if self.key_header == "authorization" else key
        headers = {self.key_header: value} if key and value else {}
        if self.name == "anthropic":
            headers["anthropic-version"] = "2023-06-01"
        return address, headers

    @property
    def whose_key(self) -> str:
        """Name the variable of the key, for messages about a refused one."""
        return next(iter(self.needed)).partition("|")[0]


def _first(names: str, environment: Mapping[str, str]) -> str | None:
    return next((value for name in names.split("|") if (value := environment.get(name))), None)


PROVIDERS = {
    one.name: one
    for one in (
        Provider(
            "anthropic",
            "anthropic",
            frozenset({"anthropic"}),
            {"ANTHROPIC_API_KEY": "api_key"},
            # Not ANTHROPIC_BASE_URL: it points clients at Headgate itself.
            {"HEADGATE_ANTHROPIC_URL|ANTHROPIC_API_BASE": "api_base"},
            base="https://api.anthropic.com",
            health_path="v1/models?limit=1",
            key_header="x-api-key",
        ),
        Provider(
            "openai",
            "openai",
            frozenset({"openai"}),
            {"OPENAI_API_KEY": "api_key"},
            {"OPENAI_BASE_URL|OPENAI_API_BASE": "api_base"},
            base="https://api.openai.com/v1",
            health_path="models",
        ),
        Provider(
            "google",
            "gemini",
            frozenset({"gemini"}),
            {"GEMINI_API_KEY|GOOGLE_API_KEY": "api_key"},
            {"GEMINI_API_BASE": "api_base"},
            base="https://generativelanguage.googleapis.com/v1beta",
            health_path="models?pageSize=1",
            key_header="x-goog-api-key",
        ),
        Provider(
            "cohere",
            "cohere_chat",
            frozenset({"cohere", "cohere_chat"}),
            {"COHERE_API_KEY|CO_API_KEY": "api_key"},
            {"COHERE_API_BASE": "api_base"},
            base="https://api.cohere.com/v2/chat",
            health_path="../../v1/models?page_size=1",
        ),
        Provider(
            "mistral",
            "mistral",
            frozenset({"mistral"}),
            {"MISTRAL_API_KEY": "api_key"},
            {"MISTRAL_API_BASE": "api_base"},
            base="https://api.mistral.ai/v1",
            health_path="models",
        ),
        Provider(
            "azure",
            "azure",
            frozenset({"azure"}),
            {
                "AZURE_API_KEY|AZURE_OPENAI_API_KEY": "api_key",
                "AZURE_API_BASE": "api_base",
                "AZURE_API_VERSION": "api_version",
            },
            {},
            health_path="openai/models",
            key_header="api-key",
        ),
        Provider(
            "bedrock",
            "bedrock",
            frozenset({"bedrock", "bedrock_converse"}),
            {
                "AWS_ACCESS_KEY_ID": "aws_access_key_id",
                "AWS_SECRET_ACCESS_KEY": "aws_secret_access_key",
                "AWS_REGION_NAME|AWS_REGION|AWS_DEFAULT_REGION": "aws_region_name",
            },
            {
                "AWS_SESSION_TOKEN": "aws_session_token",
                "AWS_BEDROCK_RUNTIME_ENDPOINT": "aws_bedrock_runtime_endpoint",
            },
        ),
    )
}

VARIABLES = frozenset(
    name
    for provider in PROVIDERS.values()
    for names in (*provider.needed, *provider.optional)
    for name in names.split("|")
)
"""All variables that the providers are configured by."""
