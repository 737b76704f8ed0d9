"""The JSON Schema says what recipes may say, for editors and for validation."""

import json
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from onnxbuild import registry
from onnxbuild.recipe.describe import docs_of, fields_of
from onnxbuild.recipe.jsonschema import composed_schema, recipe_schema
from onnxbuild.recipe.reader import read
from onnxbuild.recipe.schema import Recipe

KEPT = Path(__file__).parents[2] / "recipes" / "recipe.schema.json"


def complaints(text):
    schema = recipe_schema(registry)
    return [
        error.message for error in Draft202012Validator(schema).iter_errors(read(text, "r").data)
    ]


def sections(schema, path=""):
    for key, value in schema.items():
        if isinstance(value, dict):
            yield from sections(value, f"{path}/{key}")
    if schema.get("type") == "object" and "properties" in schema:
        yield path, schema


def test_both_schemas_are_schemas():
    """Of draft 2020-12."""
    Draft202012Validator.check_schema(recipe_schema(registry))
    Draft202012Validator.check_schema(composed_schema())


def test_every_key_is_documented():
    """A docstring stands under every field of every section, stage and rule."""
    undocumented = [
        f"{path}/{key}"
        for path, section in sections(recipe_schema(registry))
        for key, value in section["properties"].items()
        if "description" not in value and "const" not in value and "$defs" in path
    ]

    assert undocumented == []
    assert docs_of(Recipe).keys() >= fields_of(Recipe).keys()


def test_unknown_keys_are_refused_everywhere():
    """No section lets a typing error through."""
    open_sections = [
        path
        for path, section in sections(recipe_schema(registry))
        if section.get("additionalProperties") is not False and "allOf" not in section and path != "/properties/replace"
    ]  # fmt: skip

    assert open_sections == []


@pytest.mark.parametrize(
    "line",
    [
        "inputs: {x: [batch, 3]}", "inputs: {x: {shape: [1], dtype: int64, range: [0, 9]}}",
        "stages: {a: float16}", "stages: {a: b.py:f}", "stages: {a: {use: b.py:f, any: 1}}",
        "stages: {a: {use: float16, from: export, keep_io_types: true}}",
        "replace: {sync_batchnorm: , a: {module: m, with: n}, b: {rule: c.py:f, n: 1}}",
        "data: {a: b.py:f, c: {path: x.npz, samples: 3}}", "defaults: [base]",
        "verify: {default: {cosine: 0.9, outputs: {y: {atol: 1e-3, rtol: 0}}}}",
        "dynamic_axes: {x: {0: batch}}", "settings: {jobs: 2}",
    ],
)  # fmt: skip
def test_editors_know_the_short_forms(line):
    """What people may write is not underlined."""
    assert complaints(f"model: {{entry: 'a.py:f', weights: w.pt}}\n{line}\n") == []


@pytest.mark.parametrize(
    "line",
    [
        "exprot: {}", "export: {opsett: 3}", "stages: {a: flaot16}", "stages: {a: {use: float16, x: 1}}",
        "stages: {a: {from: export}}", "stages: {a: {use: quantize_static}}", "replace: {other: {}}",
        "replace: {sync_batchnorm: {eps: 1}}", "inputs: {x: {shape: [1], dtype: float}}",
    ],
)  # fmt: skip
def test_editors_know_what_is_wrong(line):
    """And what is wrong is underlined."""
    assert complaints(f"model: {{entry: 'a.py:f'}}\n{line}\n") != []


def test_the_schema_beside_the_recipes_is_that_of_the_code():
    """Editors read it from there. To refresh: `onnxbuild schema > recipes/recipe.schema.json`."""
    assert json.loads(KEPT.read_text()) == recipe_schema(registry)
