"""What a file defines is known without running it."""

import pytest

from onnxbuild.recipe.parsing import Signature, callable_signature, definitions

SOURCE = b"""
import os.path as path, sys
from json import loads as read
if sys.version_info:
    def inside(a, /, b, *, c, d=1, **rest): ...
else:
    class Other: ...
try:
    A = B = 1
except ImportError:
    (C, D), *E = x
with open("f") as handle:
    F: int = 3
for G in ():
    pass
class Net(Base):
    def __init__(self, width, depth=2): ...
@decorated
def wrapped(a): ...
async def later(): ...
def outer():
    def hidden(): ...
"""


def test_all_names_of_a_module_are_found():
    """Functions, classes, assignments, imports; within `if`, `try`, `with` and `for` too, not within functions."""
    found = definitions(SOURCE)

    assert found.names == {
        "path", "sys", "read", "inside", "Other", "A", "B", "C", "D", "E", "F", "G", "handle", "Net",
        "wrapped", "later", "outer",
    }  # fmt: skip
    assert not found.open


@pytest.mark.parametrize(
    "source", [b"from x import *", b"def __getattr__(name): ...", b"globals()['a'] = 1"]
)
def test_a_module_may_have_more_than_is_seen(source):
    """Then no name is called missing."""
    assert definitions(source).open


@pytest.mark.parametrize(
    ("name", "signature"),
    [
        (
            "inside",
            Signature(required=("a", "b", "c"), optional=("d",), positional=2, anything=True),
        ),
        ("Net", Signature(required=("width",), optional=("depth",), positional=2, anything=False)),
        ("later", Signature(required=(), optional=(), positional=0, anything=False)),
        ("wrapped", None),
        ("Other", None),
        ("A", None),
    ],
)
def test_what_a_callable_takes(name, signature):
    """None where a decorator, or a base class, may change it."""
    assert callable_signature(definitions(SOURCE), name) == signature


def test_what_is_no_python_is_an_error():
    """With its line."""
    with pytest.raises(SyntaxError) as caught:
        definitions(b"a = 1\ndef (")
    assert caught.value.lineno == 2
