"""Functions that a model wrote, in children of the zygote: what comes back, and what becomes of those that
misbehave."""

import sys
from collections.abc import Iterator
from typing import Any

import pytest

from evolvent.sandbox import CodeSandbox, Limits, Outcome
from evolvent.sandbox.plain import decode, encode

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="no tier holds on other systems: the sandbox refuses")


@pytest.fixture(scope="module")
def box() -> Iterator[CodeSandbox]:
    with CodeSandbox() as sandbox:
        yield sandbox


def call(box: CodeSandbox, body: str, *arguments: Any, limits: Limits | None = None) -> Outcome:
    source = "def f(*args):\n" + "\n".join("    " + line for line in body.splitlines())
    return box.call(source, "f", [[encode(argument) for argument in arguments]], limits)


def test_values_come_back_as_they_were(box: CodeSandbox) -> None:
    source = "def f(a, b): return a + b"
    outcome = box.call(source, "f", [[encode(a), encode(b)] for a, b in ((1, 2), (0.5, -0.5), ("a", "b"), ("a", 1))])
    assert outcome.status == "ok"
    assert [decode(result.value) for result in outcome.results] == [3, 0.0, "ab", None]
    assert [result.error for result in outcome.results[:3]] == ["", "", ""]
    assert outcome.results[3].error.startswith("TypeError: ")


@pytest.mark.parametrize(
    ("source", "detail"),
    [("def f(:", "SyntaxError"), ("g = 1", "KeyError: 'f'"), ("1 / 0", "ZeroDivisionError"), ("import sys; sys.exit(0)",
    "SystemExit")],
)  # fmt: skip
def test_a_module_that_does_not_load_is_an_error(box: CodeSandbox, source: str, detail: str) -> None:
    outcome = box.call(source, "f", [[]])
    assert (outcome.status, outcome.results) == ("error", ())
    assert outcome.detail.startswith(detail)
