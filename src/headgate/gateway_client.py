"""A running gateway, asked over its endpoints; for the command line."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import httpx
import orjson

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Self

_TIMEOUT = httpx.Timeout(300.0, connect=5.0)  # a stream of progress is never silent for so long


class Unanswered(Exception):
    """The gateway did not answer as asked; the message says what to do.

    `status` is that of its answer, None if there was none: then the same may be asked again.
    """

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class GatewayClient:
    """Asks `url` with an admin's key and a client's, where there are any. Failures are Unanswered.

    Paths are below `root`.
    """

    root = ""

    def __init__(self, url: str, admin_key: str | None, client_key: str | None) -> None:
        self._url = url.rstrip("/")
        keys = {"x-headgate-admin-key": admin_key, "x-api-key": client_key}
        headers = {name: key for name, key in keys.items() if key}
        try:
            self._http = httpx.Client(headers=headers, timeout=_TIMEOUT, trust_env=False)
        except (ValueError, UnicodeError):
            raise Unanswered("the key has characters that no key has") from None

    def __enter__(self) -> Self:
        """Give itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the connection."""
        self._http.close()

    def get(self, path: str, query: Mapping[str, Any] | None = None) -> Any:
        """Get what is at a path."""
        given = {name: value for name, value in (query or {}).items() if value is not None}
        with self._open("GET", path, params=given) as answer:
            return self._read(answer)

    def post(self, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """Post JSON to a path."""
        with self._open("POST", path, content=b"" if body is None else orjson.dumps(body)) as answer:
            return self._read(answer)

    def delete(self, path: str) -> Any:
        """Delete what is at a path."""
        with self._open("DELETE", path) as answer:
            return self._read(answer)

    def events(self, path: str, body: bytes) -> Iterator[Any]:
        """Post to a path, and give the events of the answer as they come."""
        with self._open("POST", path, content=body) as answer:
            for line in answer.iter_lines():
                if line.startswith("data:"):
                    event = orjson.loads(line[5:])
                    if event.get("type") == "error":
                        raise Unanswered(f"the gateway says: {event['error']['message']}")
                    yield event

    @contextmanager
    def _open(self, method: str, path: str, **given: Any) -> Iterator[httpx.Response]:
        url = f"{self._url}{self.root}{path}"
        try:
            with self._http.stream(method, url, **given) as answer:
                if answer.status_code != 200:
                    answer.read()
                    raise self._refused(answer)
                yield answer
        except (httpx.UnsupportedProtocol, httpx.InvalidURL):
            raise Unanswered(f"{self._url} is no address: say --url http://HOST:PORT") from None
        except (httpx.ConnectError, httpx.ConnectTimeout):
            raise Unanswered(
                f"nothing answers at {self._url}: start the gateway with `headgate serve`, "
                "or say where it is with --url"
            ) from None
        except httpx.HTTPError as error:
            raise Unanswered(f"{self._url} broke off: {error or type(error).__name__}") from None

    def _read(self, answer: httpx.Response) -> Any:
        try:
            return orjson.loads(answer.read())
        except orjson.JSONDecodeError:
            raise Unanswered(f"what answers at {self._url} is no Headgate: see --url") from None

    def _refused(self, answer: httpx.Response) -> Unanswered:
        """Say what the gateway says, and what to do about it."""
        status = answer.status_code
        try:
            told = orjson.loads(answer.content)["error"]["message"]
        except (orjson.JSONDecodeError, LookupError, TypeError):
            return Unanswered(f"{self._url} answers {status}: is it a Headgate? See --url", status)
        if status in {401, 403}:
            return Unanswered(f"the gateway refuses: {told}{_what_to_give(status, told)}", status)
        return Unanswered(f"the gateway answers {status}: {told}", status)


def _what_to_give(status: int, told: str) -> str:
    if "admin" in told.lower():
        return ". Give an admin's key with --key"
    return ". Give a client's key with --client-key" if status == 401 else ""
