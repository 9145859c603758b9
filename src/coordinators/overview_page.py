"""The overview as HTML. Every text from elsewhere is escaped; scripts and styles run by a nonce only."""

from __future__ import annotations

import re
import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Any

from coordinators.error_log import moment
from coordinators.lately import number
from coordinators.overview_charts import hour_charts, hour_rows
from coordinators.overview_days import day_view
from coordinators.overview_words import cut, dollars, grouped
from coordinators.prefect_links import run_link

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jinja2 import Environment

    from wire.messages import Json

SECTIONS = ("now", "requests", "hour", "days", "errors", "parts", "cache", "batches")

_LONGEST = 300
_RUN_ID = re.compile(r"[0-9a-f-]{32,36}")
_HASH = re.compile(r"[0-9a-f]{12}")
_HEADERS = {
    "cache-control": "no-store",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
}
_POLICY = (
    "default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; img-src data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


class Page:
    """Renders the page, in any thread. `ui_url` is where Prefect's pages are, if anywhere.

    `links` says that a browser which sees this page may see `/debug` too: with admin keys it may not.
    """

    def __init__(self, *, version: str, instance: str, ui_url: str | None, links: bool) -> None:
        self._facts = {"version": version, "instance": instance, "links": links, "ui_url": ui_url}
        self._ui_url = ui_url
        self._environment: Environment | None = None

    def sections(self, view: Mapping[str, Any]) -> dict[str, str]:
        """Give each section's HTML by its name."""
        shown = {
            **self._facts,
            **view,
            "rows": [self._row(row) for row in view["rows"]],
            "begun": [self._begun(row) for row in view["now"]["begun"]],
            "hour": {"charts": hour_charts(view["minutes"]), "rows": hour_rows(view["minutes"])},
            "days": day_view(view["use"]),
            "errors": [_error(row) for row in view["errors"]],
            "batches": {**view["batches"], "rows": [self._batch(row) for row in view["batches"]["rows"]]},
        }
        template = self._templates().get_template("sections.html")
        module = template.make_module(shown)
        return {name: str(getattr(module, f"{name}_section")()) for name in SECTIONS}

    def whole(self, sections: Mapping[str, str]) -> tuple[str, dict[str, str]]:
        """Give the whole page, and the headers that it needs."""
        nonce = secrets.token_urlsafe(16)
        html = self._templates().get_template("overview.html").render(
            **self._facts, names=SECTIONS, sections=sections, nonce=nonce, at=moment()
        )  # fmt: skip
        return html, {**_HEADERS, "content-security-policy": _POLICY.format(nonce=nonce)}

    def _templates(self) -> Environment:
        if self._environment is None:
            from jinja2 import Environment, FileSystemLoader, StrictUndefined  # noqa: PLC0415 - see below

            # Loaded when somebody looks: most who start a gateway never do.
            loader = FileSystemLoader(Path(__file__).with_name("pages"))
            self._environment = Environment(
                loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True,
                lstrip_blocks=True,
            )  # fmt: skip
            self._environment.filters |= {"dollars": dollars, "count": _count, "cut": _cut}
        return self._environment

    def _request_run(self, line: Json) -> str | None:
        """Give where a request's run is shown: its page has an id that only the Prefect server knows."""
        name = line.get("run")
        return run_link(self._ui_url, str(name)) if self._ui_url is not None and name else None

    def _batch_run(self, flow_run_id: Any) -> str | None:
        known = str(flow_run_id or "")
        if self._ui_url is None or not _RUN_ID.fullmatch(known):
            return None
        return run_link(self._ui_url, "", known)

    def _row(self, line: Json) -> Json:
        """Give a request's row, as the table shows it."""
        status, cost = int(number(line.get("status"))), line.get("cost_usd")
        taken = sum(
            number(line.get(name))
            for name in ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")
        )
        return {
            "id": str(line.get("id", "")),
            "time": str(line.get("time", ""))[11:19],
            "when": str(line.get("time", "")),
            "flow": str(line.get("flow") or line.get("path") or ""),
            "model": _cut(line.get("model") or "(none)", 80),
            "backend": _cut(line.get("backend") or "—", 40),
            "status": status,
            "tone": "bad" if status >= 500 else "warn" if status >= 400 else "good",
            "word": _word(status, line),
            "taken": _count(taken) if line.get("input_tokens") is not None else "—",
            "given": _count(line.get("output_tokens")),
            "cost": dollars(number(cost)) if cost is not None else "—",
            "first": _ms(line.get("ttft_ms")),
            "ms": _ms(line.get("ms")),
            "cache": str(line.get("cache") or ""),
            "hash": _hash(line.get("error_hash")),
            "run": self._request_run(line),
        }

    def _begun(self, line: Json) -> Json:
        """Give the row of a request under way."""
        when = str(line.get("began", ""))
        return {
            "id": str(line.get("id", "")),
            "time": when[11:19],
            "when": when,
            "flow": str(line.get("flow") or line.get("path") or ""),
            "model": _cut(line.get("model") or "(none)", 80),
            "backend": _cut(line.get("backend") or "—", 40),
            "attempts": _count(line.get("attempts")),
            "run": self._request_run(line),
        }

    def _batch(self, row: Json) -> Json:
        return {
            **row,
            "label": _cut(row["label"] or "", 60),
            "percent": int(100 * row["done"] / row["items"]) if row["items"] else 100,
            "created": row["created"][:16].replace("T", " "),
            "cost": dollars(row["cost"]),
            "run": self._batch_run(row["flow_run"]),
        }


def _word(status: int, line: Json) -> str:
    """Say in a word how it ended, for who cannot tell colours."""
    if status == 499:
        return "client left"
    if status >= 400:
        return _cut(line.get("error") or "failed", 40)
    return {"hit": "from the cache"}.get(str(line.get("cache")), "ok")


def _error(row: Json) -> Json:
    return {
        "hash": _hash(row.get("hash")),
        "count": _count(row.get("count")),
        "type": _cut(row.get("type") or "", 60),
        "place": f"{row.get('module') or row.get('file') or '?'}.{row.get('function') or '?'}",
        "line": row.get("line"),
        "message": _cut(row.get("message") or "", _LONGEST),
        "last": str(row.get("last") or "")[:19].replace("T", " "),
        "first": str(row.get("first") or "")[:19].replace("T", " "),
    }


def _hash(value: Any) -> str | None:
    known = str(value or "")
    return known if _HASH.fullmatch(known) else None


def _cut(text: Any, most: int = _LONGEST) -> str:
    return cut(str(text), most)


def _count(value: Any) -> str:
    return grouped(number(value)) if value is not None else "—"


def _ms(value: Any) -> str:
    if value is None:
        return "—"
    ms = number(value)
    return f"{ms / 1000:.1f} s" if ms >= 1000 else f"{ms:.0f} ms"
