"""Settings, from the environment and `.env`. Only coordinators and the program read them."""

from __future__ import annotations

import base64
import json
import os
import re
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ByteSize,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

DEFAULT_PORT = 8082

_KEY = re.compile(r"[\w-]{43}=?", re.ASCII)


class SettingsError(Exception):
    """A setting is missing, wrong, or contradicts another; the message names the variable."""


class BackendName(StrEnum):
    """Where answers come from. `DEMO` is found, never set: it means that no key is there."""

    OPENROUTER = "OPENROUTER"
    LITELLM_OPENROUTER = "LITELLM_OPENROUTER"
    AZURE_DATABRICKS = "AZURE_DATABRICKS"
    ANTHROPIC = "ANTHROPIC"
    OPENAI_COMPATIBLE = "OPENAI_COMPATIBLE"
    DEMO = "DEMO"

    @property
    def prefix(self) -> str:
        """Give the name that a model's name is prefixed with, and that answers are marked with."""
        return {"LITELLM_OPENROUTER": "litellm", "AZURE_DATABRICKS": "databricks"}.get(self, self.lower())


class ModelProfile(BaseModel):
    """What HEADGATE_PROFILES says of a model: its effort, and seconds for an event after tool results."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    effort: Literal["minimal", "low", "medium", "high", "xhigh", "max"] | None = None
    tool_timeout: float | None = Field(None, gt=0)


def _data_home() -> Path:
    base = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(base) / "headgate"


def _table(value: Any) -> Any:
    """Read a table written as JSON; empty is none."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value or "{}")
    except ValueError:
        raise ValueError("is not valid JSON") from None


Table = Annotated[dict[str, str], NoDecode, BeforeValidator(_table)]


class Settings(BaseSettings):
    """Every setting of the gateway; the field's alias is the variable's name."""

    model_config = SettingsConfigDict(
        env_file=".env", env_file_encoding="utf-8", extra="ignore", populate_by_name=True, frozen=True
    )

    backend: str | None = Field(None, alias="PROXY_BACKEND")

    use_litellm: bool | None = Field(None, alias="USE_LITELLM")
    bypass_litellm: bool | None = Field(None, alias="BYPASS_LITELLM_ENABLED")
    databricks_enabled: bool | None = Field(None, alias="AZURE_DATABRICKS_ENABLED")

    openrouter_api_key: SecretStr | None = Field(None, alias="OPENROUTER_API_KEY")
    openrouter_api_keys: SecretStr | None = Field(None, alias="OPENROUTER_API_KEYS")
    openrouter_base_url: str = Field("https://openrouter.ai/api/v1", alias="OPENROUTER_BASE_URL")
    openrouter_wire: Literal["auto", "messages", "chat"] = Field("auto", alias="OPENROUTER_WIRE")

    databricks_host: str | None = Field(None, alias="DATABRICKS_HOST")
    databricks_token: SecretStr | None = Field(None, alias="DATABRICKS_TOKEN")
    databricks_wire: Literal["auto", "messages", "chat"] = Field("auto", alias="DATABRICKS_WIRE")
    databricks_models: Table = Field(default_factory=dict, alias="DATABRICKS_MODELS")

    anthropic_api_key: SecretStr | None = Field(None, alias="ANTHROPIC_API_KEY")
    anthropic_url: str = Field("https://api.anthropic.com", alias="HEADGATE_ANTHROPIC_URL")

    openai_compatible_url: str | None = Field(None, alias="OPENAI_COMPATIBLE_BASE_URL")
    openai_compatible_api_key: SecretStr | None = Field(None, alias="OPENAI_COMPATIBLE_API_KEY")

    host: str = Field("127.0.0.1", alias="HEADGATE_HOST")
    port: int = Field(DEFAULT_PORT, alias="HEADGATE_PORT", ge=0, le=65535)
    workers: int = Field(1, alias="HEADGATE_WORKERS", ge=1, le=64)
    api_keys: Annotated[tuple[SecretStr, ...], NoDecode] = Field((), alias="HEADGATE_API_KEYS")
    client_key: SecretStr | None = Field(None, alias="HEADGATE_CLIENT_KEY")
    admin_keys: Annotated[tuple[SecretStr, ...], NoDecode] = Field((), alias="HEADGATE_ADMIN_KEYS")
    data_dir: Path = Field(default_factory=_data_home, alias="HEADGATE_DATA_DIR")
    log_dir: Path = Field(Path("debug_logs"), alias="HEADGATE_LOG_DIR")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", alias="HEADGATE_LOG_LEVEL")

    log_file_size: ByteSize = Field(ByteSize(32 * 1024**2), alias="HEADGATE_LOG_FILE_SIZE", ge=64 * 1024)
    log_file_hours: float = Field(24.0, alias="HEADGATE_LOG_FILE_HOURS", gt=0)
    log_files: int = Field(5, alias="HEADGATE_LOG_FILES", ge=0, le=1000)
    log_keep: int = Field(20, alias="HEADGATE_LOG_KEEP", ge=0)
    log_keep_days: float = Field(14.0, alias="HEADGATE_LOG_KEEP_DAYS", gt=0)
    request_log: Literal["on", "off"] = Field("on", alias="HEADGATE_REQUEST_LOG")

    capture: Literal["off", "errors", "all"] = Field("off", alias="HEADGATE_CAPTURE")
    capture_key: SecretStr | None = Field(None, alias="HEADGATE_CAPTURE_KEY")
    capture_size: ByteSize = Field(ByteSize(100 * 1024**2), alias="HEADGATE_CAPTURE_SIZE", ge=64 * 1024)
    capture_largest: ByteSize = Field(ByteSize(4 * 1024**2), alias="HEADGATE_CAPTURE_LARGEST", ge=1)
    capture_hours: float = Field(72.0, alias="HEADGATE_CAPTURE_HOURS", gt=0)

    big_model: str = Field("anthropic/claude-sonnet-4", alias="HEADGATE_BIG_MODEL")
    small_model: str = Field("anthropic/claude-3.7-sonnet", alias="HEADGATE_SMALL_MODEL")
    models: Table = Field(default_factory=dict, alias="HEADGATE_MODELS")
    routes: Table = Field(default_factory=dict, alias="HEADGATE_ROUTES")
    fallbacks: Annotated[dict[str, tuple[str, ...]], NoDecode] = Field(
        default_factory=dict, alias="HEADGATE_FALLBACKS"
    )

    universal_fallbacks: Annotated[dict[str, tuple[str, ...]], NoDecode] = Field(
        default_factory=dict, alias="HEADGATE_UNIVERSAL_FALLBACKS"
    )

    cooldown_after: int = Field(5, alias="HEADGATE_COOLDOWN_AFTER", ge=0)
    cooldown_seconds: float = Field(30.0, alias="HEADGATE_COOLDOWN_SECONDS", gt=0)
    concurrency: int = Field(0, alias="HEADGATE_BACKEND_CONCURRENCY", ge=0)
    queue: int = Field(100, alias="HEADGATE_BACKEND_QUEUE", ge=0)

    cache: Literal["off", "on"] = Field("off", alias="HEADGATE_CACHE")
    cache_ttl: float = Field(3600.0, alias="HEADGATE_CACHE_TTL", gt=0, le=30 * 24 * 3600)
    cache_ttls: Annotated[dict[str, Annotated[float, Field(ge=0)]], NoDecode, BeforeValidator(_table)] = (
        Field(default_factory=dict, alias="HEADGATE_CACHE_TTLS")
    )
    cache_stale: float = Field(0.0, alias="HEADGATE_CACHE_STALE", ge=0)
    cache_size: ByteSize = Field(ByteSize(1024**3), alias="HEADGATE_CACHE_SIZE", ge=1024**2)
    cache_largest: ByteSize = Field(ByteSize(4 * 1024**2), alias="HEADGATE_CACHE_LARGEST", ge=1)
    cache_keep: Annotated[tuple[Literal["max_tokens", "refusal"], ...], NoDecode] = Field(
        (), alias="HEADGATE_CACHE_KEEP"
    )
    cache_shared: bool = Field(default=False, alias="HEADGATE_CACHE_SHARED")
    cache_url: SecretStr | None = Field(None, alias="HEADGATE_CACHE_URL")

    profiles: Annotated[dict[str, ModelProfile], NoDecode, BeforeValidator(_table)] = Field(
        default_factory=dict, alias="HEADGATE_PROFILES"
    )
    thinking: Literal["auto", "on", "off"] = Field("auto", alias="HEADGATE_THINKING")
    prompt_cache: Literal["off", "auto"] = Field("off", alias="HEADGATE_PROMPT_CACHE")

    database_url: SecretStr | None = Field(None, alias="DATABASE_URL")
    batch_concurrency: int = Field(32, alias="HEADGATE_BATCH_CONCURRENCY", ge=1, le=1000)
    batch_chunk: int = Field(1000, alias="HEADGATE_BATCH_CHUNK", ge=1, le=100_000)
    batch_rpm: int = Field(0, alias="HEADGATE_BATCH_RPM", ge=0)
    batch_tpm: int = Field(0, alias="HEADGATE_BATCH_TPM", ge=0)
    batch_attempts: int = Field(8, alias="HEADGATE_BATCH_ATTEMPTS", ge=1, le=100)
    batch_hours: float = Field(24.0, alias="HEADGATE_BATCH_HOURS", gt=0, le=24 * 29)
    batch_keep_days: float = Field(29.0, alias="HEADGATE_BATCH_KEEP_DAYS", gt=0)
    batch_lease: float = Field(30.0, alias="HEADGATE_BATCH_LEASE", ge=1, le=600)
    batch_prefect_seconds: float = Field(5.0, alias="HEADGATE_BATCH_PREFECT_SECONDS", ge=0)
    work_pool: str | None = Field(None, alias="HEADGATE_WORK_POOL")

    metrics: Literal["on", "off"] = Field("on", alias="HEADGATE_METRICS")
    metrics_models: int = Field(50, alias="HEADGATE_METRICS_MODELS", ge=1, le=1000)
    otlp_url: str | None = Field(None, alias="OTEL_EXPORTER_OTLP_ENDPOINT")
    otlp_traces_url: str | None = Field(None, alias="OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
    otlp_headers: SecretStr | None = Field(None, alias="OTEL_EXPORTER_OTLP_HEADERS")
    otlp_traces_headers: SecretStr | None = Field(None, alias="OTEL_EXPORTER_OTLP_TRACES_HEADERS")
    otel_off: bool = Field(default=False, alias="OTEL_SDK_DISABLED")
    traces_rate: float = Field(20.0, alias="HEADGATE_TRACES_RATE", gt=0)
    usage: Literal["on", "off"] = Field("on", alias="HEADGATE_USAGE")
    usage_session_days: float = Field(30.0, alias="HEADGATE_USAGE_SESSION_DAYS", ge=0)

    runs: Literal["express", "prefect", "off"] = Field("express", alias="HEADGATE_RUNS")
    prefect_api_url: str | None = Field(None, alias="PREFECT_API_URL")
    prefect_port: int | None = Field(None, alias="PREFECT_SERVER_API_PORT", ge=1, le=65535)

    retries: int = Field(2, alias="HEADGATE_RETRIES", ge=0, le=10)
    connect_timeout: float = Field(10.0, alias="HEADGATE_CONNECT_TIMEOUT", gt=0)
    first_byte_timeout: float = Field(120.0, alias="HEADGATE_FIRST_BYTE_TIMEOUT", gt=0)
    idle_timeout: float = Field(120.0, alias="HEADGATE_IDLE_TIMEOUT", gt=0)
    answer_timeout: float = Field(600.0, alias="HEADGATE_ANSWER_TIMEOUT", gt=0)
    ping_seconds: float = Field(15.0, alias="HEADGATE_PING_SECONDS", gt=0)
    drain_seconds: float = Field(0.0, alias="HEADGATE_DRAIN_SECONDS", ge=0, le=600)
    grace_seconds: float = Field(10.0, alias="HEADGATE_GRACE_SECONDS", ge=0)

    @field_validator("backend")
    @classmethod
    def _upper(cls, value: str | None) -> str | None:
        return value.strip().upper() or None if value is not None else None

    @field_validator("api_keys", "admin_keys", "cache_keep", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        if isinstance(value, str):
            return tuple(key.strip() for key in value.split(",") if key.strip())
        return value

    @field_validator(
        "use_litellm", "bypass_litellm", "databricks_enabled", "openrouter_api_key", "openrouter_api_keys",
        "databricks_host", "databricks_token", "anthropic_api_key", "openai_compatible_url",
        "openai_compatible_api_key", "otlp_url", "otlp_traces_url", "otlp_headers", "otlp_traces_headers",
        "prefect_api_url", "prefect_port", "cache_url", "database_url",
        "work_pool", "client_key", "capture_key", mode="before",
    )  # fmt: skip
    @classmethod
    def _empty_is_unset(cls, value: Any) -> Any:
        return None if isinstance(value, str) and not value.strip() else value

    @field_validator("capture_key")
    @classmethod
    def _is_a_key(cls, value: SecretStr | None) -> SecretStr | None:
        for told in value.get_secret_value().split(",") if value is not None else ():
            if _KEY.fullmatch(told.strip()) is None:
                raise ValueError(
                    "must be 32 bytes in URL-safe base64, several separated by commas; "
                    "`headgate captures --new-key` makes one"
                )
        return value

    @field_validator("fallbacks", "universal_fallbacks", mode="before")
    @classmethod
    def _one_is_a_list(cls, value: Any) -> Any:
        table = _table(value)
        if isinstance(table, dict):
            return {key: (one,) if isinstance(one, str) else one for key, one in table.items()}
        return table

    @field_validator("openrouter_base_url", "anthropic_url", mode="before")
    @classmethod
    def _empty_is_the_usual(cls, value: Any, info: ValidationInfo) -> Any:
        empty = isinstance(value, str) and not value.strip()
        return cls.model_fields[str(info.field_name)].default if empty else value

    @field_validator(
        "openrouter_base_url", "anthropic_url", "openai_compatible_url", "otlp_url", "otlp_traces_url"
    )
    @classmethod
    def _is_an_address(cls, value: str | None) -> str | None:
        if value is not None and not value.startswith(("http://", "https://")):
            raise ValueError("must be an address that begins with http:// or https://")
        return value

    @property
    def aliases(self) -> dict[str, str]:
        """Model names of our own and the table of overrides."""
        return {"big": self.big_model, "small": self.small_model} | self.models

    @property
    def traces_url(self) -> str | None:
        """Where traces are sent, as OpenTelemetry's variables say; None if nowhere."""
        if self.otel_off:
            return None
        if self.otlp_traces_url is not None:
            return self.otlp_traces_url
        return None if self.otlp_url is None else f"{self.otlp_url.rstrip('/')}/v1/traces"

    @property
    def capture_keys(self) -> tuple[bytes, ...]:
        """The keys that captures are encrypted with (the first) and decrypted with; empty: redacted."""
        told = self.capture_key.get_secret_value().split(",") if self.capture_key is not None else []
        return tuple(base64.urlsafe_b64decode(f"{one.strip().rstrip('=')}=") for one in told)

    @property
    def presented_key(self) -> str | None:
        """The key that this machine's commands present: HEADGATE_CLIENT_KEY, or the first of our own."""
        known = self.client_key or next(iter(self.api_keys), None)
        return None if known is None else known.get_secret_value()

    @property
    def local_url(self) -> str:
        """Where programs on this machine reach the gateway."""
        host = {"0.0.0.0": "127.0.0.1", "::": "[::1]", "::1": "[::1]"}.get(self.host, self.host)  # noqa: S104
        return f"http://{host}:{self.port}"

    def check_binding(self, host: str) -> None:
        """Refuse to listen beyond loopback without client keys of the settings; raises SettingsError."""
        if not self.api_keys and not is_loopback(host):
            raise SettingsError(
                f"listening on {host} lets others in: make a key with `headgate keys create NAME`, "
                "set HEADGATE_API_KEYS (comma-separated), or listen on 127.0.0.1"
            )


def is_loopback(host: str) -> bool:
    """Say whether an address given to `--host` is reachable from this machine only."""
    return host in {"localhost", "::1", "[::1]"} or host.startswith("127.")


def load_settings(**overrides: Any) -> Settings:
    """Read the settings; `overrides` (the command line's) come first. Raises SettingsError."""
    given = {name: value for name, value in overrides.items() if value is not None}
    try:
        return Settings(**given)
    except ValidationError as error:
        lines = [f"{_variable(item['loc'])}: {item['msg']}" for item in error.errors()]
        raise SettingsError("; ".join(lines)) from None


def _variable(loc: tuple[int | str, ...]) -> str:
    """Name what is wrong: the variable, and within a table the path."""
    name = str(loc[0]) if loc else "settings"
    field = Settings.model_fields.get(name)
    variable = field.alias if field is not None and field.alias else name
    return ".".join([variable, *map(str, loc[1:])])
