"""What a client is told of an error."""

from __future__ import annotations

from wire.errors import GatewayError, InvalidRequest


def test_the_hash_of_a_failure_of_ours_is_told_and_no_others() -> None:
    ours, theirs = GatewayError("it failed"), InvalidRequest("max_tokens: missing")
    passed_on = GatewayError("upstream", verbatim=b"{}")
    assert ours.told == "it failed"
    for error in (ours, theirs, passed_on):
        error.hash = "0123456789ab"
    assert [error.told for error in (ours, theirs, passed_on)] == [
        "it failed [error 0123456789ab]", "max_tokens: missing", "upstream",
    ]  # fmt: skip
