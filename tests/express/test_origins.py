"""An error's hash: of the place in the code, not of the line's number, the machine or the message."""

from __future__ import annotations

import linecache
import subprocess
import sys
from pathlib import Path

import pytest

from express import origins
from express.origins import hash_of, origin_of
from wire.check import parse_body
from wire.errors import GatewayError, InvalidRequest

ROOT = Path(__file__).parents[2]


def raised(call):
    with pytest.raises(BaseException) as caught:  # noqa: PT011 - whatever it is, it is looked at
        call()
    return caught.value


def run_source(source: str, file: str):
    """Compile a source as one of our own files, and give where its `go` fails."""
    linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
    names: dict = {}
    exec(compile(source, file, "exec"), names)
    return origin_of(raised(names["go"]))


OURS = str(origins.ROOT / "tasks" / "planted.py")


def test_the_innermost_frame_of_ours_is_taken_though_a_library_raised():
    error = raised(lambda: parse_body(b"{"))
    origin = origin_of(error)
    assert origin.module == "wire.body"
    assert origin.function == "parse_body"
    assert origin.type == "InvalidRequest"
    assert origin.file == "wire/body.py"
    assert len(origin.hash) == 12
    assert origin.hash == hash_of("wire.body", "parse_body", origin.code, "InvalidRequest")


def test_moved_and_reindented_lines_keep_their_hash():
    one = run_source("def go():\n    return {}['x']\n", OURS)
    two = run_source("\n\n# more\ndef go():\n    if True:\n        return {}['x']\n", OURS)
    assert one.line != two.line
    assert one.hash == two.hash


@pytest.mark.parametrize(
    "other",
    [
        "def go():\n    return {}['y']\n",  # another line
        "def go():\n    return [].x\n",  # another type and line
        "class A:\n    def go(self):\n        return {}['x']\ngo = A().go\n",  # another function
    ],
)
def test_other_places_have_other_hashes(other):
    one = run_source("def go():\n    return {}['x']\n", OURS)
    assert one.hash != run_source(other, OURS).hash


def test_the_same_line_in_another_module_or_with_another_type_differs():
    assert hash_of("a", "f", "raise X()", "X") != hash_of("b", "f", "raise X()", "X")
    assert hash_of("a", "f", "raise x", "X") != hash_of("a", "f", "raise x", "Y")


def test_messages_do_not_matter():
    def fail(text):
        raise GatewayError(text)

    one, another = (origin_of(raised(lambda text=text: fail(text))) for text in ("one", "another"))
    assert one.hash == another.hash


def test_comprehensions_count_as_their_function():
    error = run_source("def go():\n    return [{}[x] for x in 'a']\n", OURS)
    assert error.function == "go"


def test_an_error_of_foreign_code_alone_and_one_never_raised_have_hashes_too():
    foreign = origin_of(raised(lambda: int("x")))
    assert foreign.module.endswith("test_origins")
    assert len(origin_of(InvalidRequest("never raised")).hash) == 12


def test_the_hash_is_the_same_in_another_process_run_from_elsewhere(tmp_path):
    ask = (
        "from express.origins import origin_of\nfrom wire.check import parse_body\n"
        "try: parse_body(b'{')\nexcept Exception as error: print(origin_of(error).hash)"
    )
    done = subprocess.run(
        [sys.executable, "-c", ask], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == origin_of(raised(lambda: parse_body(b"{"))).hash


def test_a_module_run_by_name_has_its_own_name():
    """`python -m headgate.web` calls its module `__main__`; the file knows better."""
    file = str(origins.ROOT / "headgate" / "planted.py")
    assert run_source("def go():\n    1 / 0\n", file).module == "headgate.planted"


def test_what_is_known_is_bounded(monkeypatch):
    monkeypatch.setattr(origins, "_MOST_KNOWN", 2)
    for number in range(5):
        file = str(origins.ROOT / "tasks" / f"p{number}.py")
        assert run_source("def go():\n    1 / 0\n", file).module == f"tasks.p{number}"
    assert len(origins._origins) <= 2
    assert len(origins._places) <= 2


def test_the_packages_are_those_of_the_wheel():
    assert set(origins.PACKAGES) == {path.parent.name for path in (ROOT / "src").glob("*/py.typed")}
