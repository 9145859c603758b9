"""The parameters that OpenRouter and OpenAI have beyond Anthropic's API, and what each may be.

They come with a request (in its body, or in headers) or from the environment; `wire.sources` reads the
latter two, `wire.injection` puts them into the request. Ranges are those of the vendors' references, named in
`source`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from wire.rules import amount, either, flag, integer, list_of, map_of, number, one_of, pair, table, text

if TYPE_CHECKING:
    from collections.abc import Mapping

    from wire.messages import Json
    from wire.rules import Rule

Otherwise: TypeAlias = Literal["left out", "refused"]

EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh", "max")


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter: its rule, where that is written, and what a client's own meets where it is not taken.

    `otherwise` is `refused` where an answer without the parameter would be another thing than was asked for
    (a routing promise, a forbidden token), and `left out`, which the answer tells in a header, where it would
    only be less so. If only some fields of an object weigh so much, they are its `promises`. `preset` says
    that headers and the environment may give it.
    """

    name: str
    rule: Rule
    source: str
    otherwise: Otherwise = "left out"
    preset: bool = True
    promises: tuple[str, ...] = ()

    def weighty(self, value: Any) -> str | None:
        """Give the path of what cannot be done without in a value; None if nothing in it is."""
        if self.otherwise == "left out":
            return None
        if not self.promises:
            return self.name
        asked = (field for field in self.promises if value.get(field) not in _NO_PROMISES)
        return next((f"{self.name}.{field}" for field in asked), None)


_NO_PROMISES: tuple[Any, ...] = (None, False, "allow", [], {})


@dataclass(frozen=True, slots=True)
class Api:
    """One vendor's parameters, and the prefixes of their headers and variables."""

    name: str
    header: str
    variable: str
    table: Mapping[str, Parameter]
    names: frozenset[str]
    headers: Mapping[str, Parameter]


@dataclass(frozen=True, slots=True)
class Presets:
    """What the environment gives to every request that does not say otherwise, by API."""

    openrouter: Mapping[str, Any]
    openai: Mapping[str, Any]


NO_PRESETS = Presets({}, {})

_SAMPLING = "openrouter.ai/docs/parameters"
_ROUTING = "openrouter.ai/docs/features/provider-routing"
_CHAT = "openrouter.ai/docs/api-reference, chat completion"
_OPENAI = "platform.openai.com/docs/api-reference/chat/create"

_percentiles = table(dict.fromkeys(("p50", "p75", "p90", "p99"), amount()))
_sorts = one_of("price", "throughput", "latency", "exacto")

_PROVIDER = table(
    {
        "order": list_of(text()),
        "allow_fallbacks": flag(),
        "require_parameters": flag(),
        "data_collection": one_of("allow", "deny"),
        "zdr": flag(),
        "enforce_distillable_text": flag(),
        "only": list_of(text()),
        "ignore": list_of(text()),
        "quantizations": list_of(
            one_of("int4", "int8", "fp4", "fp6", "fp8", "fp16", "bf16", "fp32", "unknown")
        ),
        "sort": either(_sorts, table({"by": _sorts, "partition": one_of("model", "none")})),
        "max_price": table(dict.fromkeys(("prompt", "completion", "image", "audio", "request"), amount())),
        "preferred_min_throughput": either(amount(), _percentiles),
        "preferred_max_latency": either(amount(), _percentiles),
        "options": table(),
    }
)
_PROMISES = ("data_collection", "zdr", "enforce_distillable_text", "only", "ignore", "max_price")
_REASONING = table(
    {
        "effort": one_of(*EFFORTS),
        "max_tokens": integer(1, 10**9),
        "exclude": flag(),
        "enabled": flag(),
        "summary": one_of("auto", "concise", "detailed"),
    }
)

_OPENROUTER_PARAMETERS = (
    Parameter("min_p", number(0, 1), _SAMPLING),
    Parameter("top_a", number(0, 1), _SAMPLING),
    Parameter("top_k", integer(0, 10**9), _SAMPLING),
    Parameter("repetition_penalty", number(0, 2), _SAMPLING),
    Parameter("temperature_range", pair(0, 2), "Headgate's own"),
    Parameter("provider", _PROVIDER, _ROUTING, "refused", promises=_PROMISES),
    Parameter("transforms", list_of(text()), "openrouter.ai/docs/features/message-transforms"),
    Parameter("models", list_of(text()), "openrouter.ai/docs/features/model-routing"),
    Parameter("route", one_of("fallback", "sort"), "openrouter.ai/docs/features/model-routing"),
    Parameter("plugins", list_of(table({"id": text()})), "openrouter.ai/docs/features/plugins", "refused"),
    Parameter("reasoning", _REASONING, "openrouter.ai/docs/use-cases/reasoning-tokens"),
    Parameter("session_id", text(256), _CHAT),
    Parameter("trace", table({"trace_id": text(), "span_name": text()}), _CHAT),
    Parameter("debug", table(), _CHAT, preset=False),
    Parameter("deferred_tools", table(), _CHAT, "refused", preset=False),
    Parameter("image_config", table(), _CHAT, preset=False),
    Parameter("include_reasoning", flag(), _CHAT, preset=False),
    Parameter("stop_server_tools_when", list_of(table()), _CHAT, preset=False),
    Parameter("structured_outputs", flag(), _SAMPLING, preset=False),
)

_OPENAI_PARAMETERS = (
    Parameter("frequency_penalty", number(-2, 2), _OPENAI),
    Parameter("presence_penalty", number(-2, 2), _OPENAI),
    Parameter("seed", integer(-(2**63), 2**63 - 1), _OPENAI),
    Parameter("user", text(), _OPENAI),
    Parameter("logit_bias", map_of(number(-100, 100)), _OPENAI, "refused"),
    Parameter("reasoning_effort", one_of(*EFFORTS), _OPENAI),
    Parameter("verbosity", one_of("low", "medium", "high", "xhigh", "max"), _OPENAI),
    Parameter("prompt_cache_key", text(), _OPENAI),
    Parameter("prompt_cache_options", table(), _OPENAI, preset=False),
    Parameter("prompt_cache_retention", one_of("in_memory", "24h"), _OPENAI, preset=False),
    Parameter("safety_identifier", text(), _OPENAI, preset=False),
    Parameter("logprobs", flag(), _OPENAI, preset=False),
    Parameter("top_logprobs", integer(0, 20), _OPENAI, preset=False),
    Parameter("modalities", list_of(text()), _OPENAI, "refused", preset=False),
    Parameter("prediction", table(), _OPENAI, preset=False),
    Parameter("web_search_options", table(), _OPENAI, "refused", preset=False),
)


def _api(name: str, listed: tuple[Parameter, ...]) -> Api:
    header = f"x-{name}-"
    known = {one.name: one for one in listed}
    headers = {header + one.name.replace("_", "-"): one for one in listed if one.preset}
    return Api(name, header, f"{name.upper()}_", known, frozenset(known), headers)


OPENROUTER = _api("openrouter", _OPENROUTER_PARAMETERS)
OPENAI = _api("openai", _OPENAI_PARAMETERS)
PARAMETERS: Mapping[str, Parameter] = {**OPENROUTER.table, **OPENAI.table}


def check_parameters(body: Json) -> None:
    """Check what a request's body has of them; InvalidRequest begins with the path. Null says nothing."""
    for name, value in body.items():
        if value is not None and (parameter := PARAMETERS.get(name)) is not None:
            parameter.rule.check(value, name)
