from __future__ import annotations

import pytest

from wire.cache_directive import LONGEST, SILENT, Directive, from_headers, from_object
from wire.errors import InvalidRequest

TABLE = [
    (None, None, SILENT),
    ("on", None, Directive("on")),
    (" REFRESH ", None, Directive("refresh")),
    (
        "on; ttl=60; tags=b, a,b; single-flight",
        None,
        Directive("on", ttl=60, tags=("a", "b"), single_flight=True),
    ),
    ("only;stale=1.5;replay=paced;max-age=9", None, Directive("only", stale=1.5, paced=True, max_age=9)),
    ("on; replay=at once", None, Directive("on")),
    (None, "max-age=5", Directive(max_age=5)),
    ("on", "max-age=99999999999", Directive("on", max_age=LONGEST)),
    ("on", "max-age=-5, private", Directive("on")),
    ("on; max-age=50", "no-cache", Directive("on", max_age=0)),
    ("on; ttl=4", "No-Store, max-age=3", Directive("off", ttl=4)),
    ("on", "only-if-cached", Directive("only")),
    ("off", "only-if-cached, no-cache", Directive("off")),
    ("only", "no-cache", Directive("only")),
]


@pytest.mark.parametrize(("ours", "theirs", "read"), TABLE)
def test_headers(ours: str | None, theirs: str | None, read: Directive) -> None:
    headers = {"x-headgate-cache": ours, "cache-control": theirs, "accept": "*/*"}
    assert from_headers({name: value for name, value in headers.items() if value is not None}) == read


@pytest.mark.parametrize(
    "wrong",
    [
        "",
        "yes",
        "on; ttl",
        "on; ttl=",
        "on; ttl=-1",
        "on; ttl=nan",
        "on; ttl=1e9",
        "on; tags=",
        "on; tags",
        "on; tags=a b",
        "on; tags=" + ",".join(f"t{n}" for n in range(17)),
        "on; single-flight=1",
        "on; replay=slow",
        "on; tll=3",
        "on; mode=never",
    ],
)
def test_what_is_not_understood_is_refused(wrong: str) -> None:
    with pytest.raises(InvalidRequest, match="x-headgate-cache"):
        from_headers({"x-headgate-cache": wrong})


def test_object() -> None:
    assert from_object({}) == Directive("on")
    asked = {"mode": "refresh", "ttl": 3, "tags": ["x"], "single_flight": True, "stale": 1, "replay": "paced"}
    assert from_object(asked) == Directive(
        "refresh", ttl=3, stale=1, tags=("x",), single_flight=True, paced=True
    )


@pytest.mark.parametrize(
    ("wrong", "path"),
    [
        (None, "cache: must be an object"),
        ([], "cache: must be an object"),
        ({"ttl": True}, "cache.ttl: must be seconds"),
        ({"ttl": "long"}, "cache.ttl: must be seconds"),
        ({"stale": [1]}, "cache.stale: must be seconds"),
        ({"tags": "a"}, "cache.tags: must be 1 to 16"),
        ({"tags": [1]}, "cache.tags: must be 1 to 16"),
        ({"single_flight": "yes"}, "cache.single_flight: is not understood"),
        ({"mode": ["on"]}, "cache.mode: must be one of"),
        ({"replay": {}}, "cache.replay: is not understood"),
        ({"secret": 1}, "cache.secret: is not understood"),
    ],
)
def test_wrong_objects_are_refused_with_their_path(wrong: object, path: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        from_object(wrong)
    assert caught.value.message.startswith(path)
