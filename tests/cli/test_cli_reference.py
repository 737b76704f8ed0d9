"""The commands that document: stages, rules, opsets, schema."""

from __future__ import annotations

import json

import pytest
import yaml

from onnxbuild import registry
from onnxbuild.cli import runtimes
from onnxbuild.cli.opsets import find_operators
from onnxbuild.cli.runtimes import RUNTIMES, exporters, find_runtime, say_runtime
from onnxbuild.cli.sections import document, example, list_all
from onnxbuild.recipe import check
from onnxbuild.recipe.describe import docs_of, fields_of


@pytest.mark.parametrize("table", ["stages", "rules"])
def test_list_names_everything_on_one_page(onnxbuild, table: str) -> None:
    """The list has each stage or rule with what it does, in 80 columns."""
    done = onnxbuild(table)

    assert done.returncode == 0, done.stderr
    assert all(f"  {name} " in done.stdout for name in registry.names(table))
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert done.stdout.startswith(list_all(table))


@pytest.mark.parametrize(
    ("table", "name"),
    [(table, name) for table in ("stages", "rules") for name in registry.names(table)],
)
def test_documentation_has_every_option_with_its_words(table: str, name: str) -> None:
    """Each option of a stage or rule is there, and each has a docstring."""
    text = document(table, name)

    cls = registry.resolve(table, name)
    assert all(f"  {key}: " in text for key in fields_of(cls))
    assert all(docs_of(cls).get(key) for key in fields_of(cls))
    assert max(map(len, text.splitlines())) <= 80


@pytest.mark.parametrize(
    ("table", "name"),
    [(table, name) for table in ("stages", "rules") for name in registry.names(table)],
)
def test_examples_are_recipes(table: str, name: str) -> None:
    """An example is YAML that gives all that is required, and nothing made up."""
    section = "stages" if table == "stages" else "replace"

    ((key, use),) = yaml.safe_load(example(table, name))[section].items()

    fields = fields_of(registry.resolve(table, name))
    assert {option for option, field in fields.items() if field.required} == use.keys() - {
        "use",
        "rule",
    }
    assert "…" not in use.values()
    assert use.get("use", use.get("rule", key)) == name


def test_wrong_stage_names_the_nearest(onnxbuild) -> None:
    """A typo in a stage's name is answered with the name that was meant."""
    done = onnxbuild("stages", "quantise_static")

    assert done.returncode == 2
    assert "did you mean 'quantize_static'?" in done.stderr


def test_opsets_table(onnxbuild) -> None:
    """The table says of each opset which release has it, who runs it, and who writes it."""
    done = onnxbuild("opsets")

    rows = {
        line.split()[0]: line.split()
        for line in done.stdout.splitlines()
        if line[:8].strip().isdigit()
    }
    assert rows["18"] == ["18", "1.13.0", "8", "1.14", "dynamo,", "torchscript"]
    assert rows["17"][-1] == "torchscript"
    assert rows["7"][-1] == "-"
    assert max(map(len, done.stdout.splitlines())) <= 80


def test_one_opset_lists_its_operators(onnxbuild) -> None:
    """An opset has the operators that came with it and those that it changed."""
    done = onnxbuild("opsets", "20")

    new, changed, deprecated = find_operators(20)
    assert done.returncode == 0
    assert "Gelu" in new
    assert "ReduceMax" in changed
    assert deprecated == []
    assert all(name in done.stdout for name in [*new, *changed])


def test_release_of_onnx_is_told_from_an_opset(onnxbuild) -> None:
    """Who asks for a release of ONNX learns its opset."""
    done = onnxbuild("opsets", "1.15")

    assert done.returncode == 2
    assert "1.15 is a release of ONNX, not an opset" in done.stderr
    assert "its opset is 20" in done.stderr


@pytest.mark.parametrize("text", ["0", "99", "-1", "twenty", "9.9", "²"])
def test_what_is_no_opset_is_refused(onnxbuild, text: str) -> None:
    """Only opsets that the installed onnx knows are answered."""
    done = onnxbuild("opsets", "--", text)

    assert done.returncode == 2
    assert "hint" in done.stderr


def test_runtimes_grow() -> None:
    """The table of runtimes is in order, so that the first that fits is the first release."""
    opsets = [item.opset for item in RUNTIMES]
    versions = [tuple(map(int, item.release.split("."))) for item in RUNTIMES]

    assert opsets == sorted(opsets)
    assert versions == sorted(versions)


def test_a_model_needs_both_its_opset_and_its_ir_version() -> None:
    """A runtime that knows the opset but not the file format does not run the model."""
    assert say_runtime(find_runtime(19)) == "1.15"
    assert say_runtime(find_runtime(19, 9)) == "1.16"
    assert say_runtime(find_runtime(23)) == "1.25 or earlier"
    assert find_runtime(99) is None
    assert say_runtime(None) == "none up to 1.32"


def test_exporters_are_those_that_the_check_of_recipes_knows() -> None:
    """The table and the check of `export.opset` say the same."""
    assert runtimes.DYNAMO == check.DYNAMO
    assert runtimes.TORCHSCRIPT == check.TORCHSCRIPT
    assert exporters(17) == "torchscript"
    assert exporters(8) == "-"


def test_schema_is_a_json_schema(onnxbuild) -> None:
    """What ``schema`` prints checks recipes."""
    done = onnxbuild("schema")

    schema = json.loads(done.stdout)
    assert schema["$schema"].startswith("https://json-schema.org/")
    assert {"model", "inputs", "stages"} <= schema["properties"].keys()
