"""The tables of what is built in."""

from __future__ import annotations

import dataclasses

import pytest

from onnxbuild import registry
from onnxbuild.errors import UsageError
from onnxbuild.recipe.rule import Rule
from onnxbuild.recipe.stage import Stage


@pytest.mark.parametrize("table", ["stages", "rules", "executors", "stores"])
def test_tables_are_sorted(table):
    """People find what they look for."""
    assert list(registry.TABLES[table]) == sorted(registry.TABLES[table])


@pytest.mark.parametrize(
    ("table", "name"),
    [
        pytest.param(table, name, id=f"{table}-{name}")
        for table in registry.TABLES
        for name in registry.TABLES[table]
    ],
)
def test_every_entry_resolves(table, name):
    """Each name stands for something of its kind, documented."""
    found = registry.resolve(table, name)

    assert found.__doc__
    base = {"stages": Stage, "rules": Rule}.get(table)
    if base is not None:
        assert issubclass(found, base)
        assert dataclasses.is_dataclass(found)


def test_unknown_name_gets_the_nearest():
    """A typo is answered with what was meant."""
    with pytest.raises(UsageError, match="no stage named 'flaot16'") as caught:
        registry.resolve("stages", "flaot16")

    assert "float16" in caught.value.hint
