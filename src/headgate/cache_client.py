"""The cache of a running gateway, asked over its endpoints."""

from __future__ import annotations

from headgate.gateway_client import GatewayClient


class CacheClient(GatewayClient):
    """Asks below `/v1/cache`, by an admin's key; what is stored is a client's."""

    root = "/v1/cache/"
