"""The commands that document: stages, rules, opsets, schema."""

from __future__ import annotations

import json

import pytest
import yaml

from onnxbuild import registry
from onnxbuild.cli.opsets import find_operators, render_model
from onnxbuild.cli.sections import document, example, list_all
from onnxbuild.recipe.describe import docs_of, fields_of
from onnxbuild.recipe.releases import (
    ONNX,
    RUNTIMES,
    Runtime,
    exporters,
    find_runtime,
    runtime_of,
    say_runtime,
    tell_number,
)


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

    cls = registry.resolve(table, name)
    required = {option for option, field in fields_of(cls).items() if field.required}
    assert "…" not in use.values()
    if name.startswith("custom") and table == "rules":
        # The callable itself stands for the rule.
        assert required == {"function"}
        assert (use["rule"], use.get("level", "module")) == ("tools.py:function", cls.level)
        return
    assert required == use.keys() - {"use", "rule"}
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
    assert "1.15 is no opset: that is a release of ONNX" in done.stderr
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
    assert say_runtime(find_runtime(23)) == "1.23"
    assert runtime_of("1.16.3") == Runtime("1.16", 19, 9)
    assert runtime_of("0.0.1") is None
    assert find_runtime(99) is None
    assert say_runtime(None) == "none up to 1.32"


def test_releases_of_onnx_are_those_that_onnx_knows() -> None:
    """The table is written out, since planning imports no onnx; a newer onnx must not go unnoticed."""
    from onnx.helper import VERSION_TABLE

    assert [tuple(row[:3]) for row in VERSION_TABLE] == list(ONNX)
    assert exporters(17) == "torchscript"
    assert exporters(8) == "-"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("1.15", "that is a release of ONNX; its opset is 20"),
        ("1.15.0", "that is a release of ONNX; its opset is 20"),
        ("v1.20", "that is a release of ONNX; its opset is 25"),
        ("1.16.3", "that is a release of onnxruntime; it runs opsets up to 19"),
        ("1.27.0", "that is a release of onnxruntime; it runs opsets up to 26"),
        ("17", ""),
        ("9.9", ""),
        ("eighteen", ""),
    ],
)
def test_releases_are_told_from_opsets(text: str, told: str) -> None:
    """A number that was given for an opset is told what it is."""
    assert tell_number(text) == told


def test_an_operator_says_since_when_it_is(onnxbuild) -> None:
    """Its versions, and the name that was meant where there is no such operator."""
    gelu, wrong = onnxbuild("opsets", "Gelu"), onnxbuild("opsets", "gellu")
    resize = json.loads(onnxbuild("opsets", "Resize", "--json").stdout)

    assert "opset 20" in gelu.stdout
    assert "did you mean 'Gelu'?" in wrong.stderr
    assert wrong.returncode == 2
    assert resize["since"] == 10
    assert {11, 13, 18} <= set(resize["versions"])


@pytest.mark.parametrize(
    ("runtime", "told"), [("1.14", "1.14 and later"), ("none up to 1.32", "none up to 1.32\n")]
)
def test_a_model_that_nothing_runs_is_not_run_later(runtime: str, told: str) -> None:
    """Of what no release is known to run, no later one is either."""
    values = {
        "file": "m.onnx",
        "opset": 99,
        "ir_version": 8,
        "least_opset": 1,
        "operators": {},
        "others": [],
    }

    assert f"onnxruntime  {told}" in render_model(values | {"onnxruntime": runtime})


def test_a_model_says_what_runs_it(onnxbuild, tmp_path) -> None:
    """Which onnxruntime runs it, and the least opset that has its operators as it uses them."""
    from onnx import TensorProto, helper, save

    value = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in "xyz"]
    nodes = [helper.make_node("Relu", ["x"], ["y"]), helper.make_node("Neg", ["y"], ["z"])]
    graph = helper.make_graph(nodes, "g", value[:1], value[2:])
    opsets = [helper.make_opsetid("", 19)]
    save(helper.make_model(graph, opset_imports=opsets, ir_version=9), tmp_path / "m.onnx")

    told = json.loads(onnxbuild("opsets", str(tmp_path / "m.onnx"), "--json").stdout)
    text = onnxbuild("opsets", str(tmp_path / "m.onnx")).stdout

    assert told["onnxruntime"] == "1.16"
    assert told["least_opset"] == 14
    assert told["operators"] == {"Neg": 13, "Relu": 14}
    assert "1.16 and later" in text


def test_schema_is_a_json_schema(onnxbuild) -> None:
    """What ``schema`` prints checks recipes."""
    done = onnxbuild("schema")

    schema = json.loads(done.stdout)
    assert schema["$schema"].startswith("https://json-schema.org/")
    assert {"model", "inputs", "stages"} <= schema["properties"].keys()
