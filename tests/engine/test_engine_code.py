"""Which modules of onnxbuild are behind a step."""

from __future__ import annotations

import ast
import os

import pytest

from onnxbuild.engine import code

SOURCE = """
import json
import onnxbuild.plain
from onnxbuild.several import (
    one,  # a comment
    two as other,
)

def late(name):
    from onnxbuild.inside import three, four
    return "onnxbuild.named.run:function", f"onnxbuild.made.run:{name}"
"""


@pytest.fixture
def package(tmp_path, monkeypatch):
    folder = tmp_path / "onnxbuild"
    folder.mkdir()
    monkeypatch.setattr(code, "FOLDER", str(folder))
    return folder


def digest(module):
    code.digest_code.cache_clear()
    code._read.cache_clear()
    return code.digest_code(module)


@pytest.mark.parametrize(
    "name",
    ["plain", "several", "several/one", "several/two", "inside/four", "named/run", "made/run"],
)
def test_every_way_to_reach_a_module_counts(package, name):
    """An import wherever it stands and however long, its names as modules, and names in strings."""
    (package / "start.py").write_text(SOURCE)
    path = package / f"{name}.py"
    path.parent.mkdir(exist_ok=True)
    path.write_text("a = 1\n")
    before = digest("onnxbuild.start")
    path.write_text("a = 2\n")

    assert digest("onnxbuild.start") != before


def test_what_is_found_in_the_text_is_all_that_is_imported():
    """Of each of our own modules, what its syntax tree says is imported is seen."""
    code._read.cache_clear()
    unseen = []
    for module in (name for name in _own_modules() if name != code.PACKAGE):
        path = code.find_source(module)
        _, seen = code._read(path, module)
        with open(path, encoding="utf-8") as file:
            unseen += [
                (module, name) for name in _imports(ast.parse(file.read())) if name not in seen
            ]

    assert not unseen


def test_a_step_does_not_rest_on_what_it_does_not_run():
    """The commands, the engine and the registry may change, and no model is exported anew."""
    code._read.cache_clear()
    seen, open_ends = set(), ["onnxbuild.steps.export.run"]
    while open_ends:
        name = open_ends.pop()
        path = code.find_source(name)
        if path is not None and name not in seen:
            seen.add(name)
            open_ends += code._read(path, name)[1]

    foreign = ("cli", "engine", "executors", "stores", "compose", "report", "registry", "stages")
    assert not [name for name in seen if name.split(".")[1:2] and name.split(".")[1] in foreign]


def _own_modules():
    for folder, _, files in os.walk(code.FOLDER):
        base = os.path.relpath(folder, os.path.dirname(code.FOLDER)).replace(os.sep, ".")
        for file in files:
            if file.endswith(".py"):
                yield base if file == "__init__.py" else f"{base}.{file[:-3]}"


def _imports(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (
                item.name for item in node.names if item.name.startswith(code.PACKAGE + ".")
            )
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports are not seen"
            if node.module.partition(".")[0] != code.PACKAGE:
                continue
            yield node.module
            yield from (f"{node.module}.{item.name}" for item in node.names)
