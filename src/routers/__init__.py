"""The HTTP surface: bytes in, one coordinator call, bytes out."""
