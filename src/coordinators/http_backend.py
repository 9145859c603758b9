"""What backends reached over HTTP share: addresses, headers, and a memory of what names mean."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar

from yarl import URL

if TYPE_CHECKING:
    from collections.abc import Mapping

    from coordinators.http_upstream import HttpStream, HttpUpstream
    from tasks.backend import Outgoing, Reply, Target, Wire

_KNOWN = 1000


class HttpBackend(ABC):
    """A backend with one base URL and one key (`tasks.backend.Backend`).

    A subclass says what a name means (`find`), and where its wires and its list of models are.
    `whose_key` is the setting that the key is from, for messages about a refused key.
    """

    paths: ClassVar[Mapping[Wire, str]]
    models_path: ClassVar[str] = "/models"

    def __init__(self, http: HttpUpstream, *, name: str, base_url: str, whose_key: str) -> None:
        self.name = name
        self.base_url = base_url.rstrip("/")
        self.whose_key = whose_key
        self._http = http
        self._headers = {
            "content-type": "application/json",
            "accept-encoding": "identity",  # answers are small or streamed: inflating them costs more
        }
        self._urls = {wire: URL(self.base_url + path) for wire, path in self.paths.items()}
        self._targets: dict[str, Target] = {}

    @abstractmethod
    def find(self, asked: str) -> Target:
        """Say which model and wire a name means here; raises NotFound with what would work."""

    def target(self, asked: str) -> Target:
        """Say which model and wire a name means here; raises NotFound."""
        known = self._targets.get(asked)
        if known is None:
            known = self.find(asked)
            if len(self._targets) < _KNOWN:
                self._targets[asked] = known
        return known

    def url(self, outgoing: Outgoing) -> URL:
        """Give the address that a request goes to."""
        return self._urls[outgoing.wire]

    async def send(self, outgoing: Outgoing) -> Reply:
        """Send and read the whole answer."""
        return await self._http.post(self.url(outgoing), outgoing.payload, self._headers_for(outgoing))

    async def open_stream(self, outgoing: Outgoing) -> HttpStream:
        """Send and return once the status has come."""
        return await self._http.open(self.url(outgoing), outgoing.payload, self._headers_for(outgoing))

    async def list_models(self, seconds: float) -> Reply:
        """Fetch the backend's own list of models."""
        return await self._http.get(self.base_url + self.models_path, self._headers, seconds)

    async def check_key(self, seconds: float) -> Reply:
        """Ask for something that only a good key gets."""
        return await self.list_models(seconds)

    def _headers_for(self, outgoing: Outgoing) -> Mapping[str, str]:
        return {**outgoing.headers, **self._headers}
