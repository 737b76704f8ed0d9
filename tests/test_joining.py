"""What the workers' server is told to have ready."""

from __future__ import annotations

import pytest

from onnxbuild.joining import TRANSFORMERS, expected_libraries
from onnxbuild.recipe.schema import Model, Recipe


def make(model, **more):
    return Recipe(name="net", model=model, folder="recipes", **more)


@pytest.fixture
def root(tmp_path):
    """A project whose one file of models uses the library, and whose other does not."""
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes" / "uses.py").write_text(
        "import torch\n\nfrom transformers import BertModel\n"
    )
    (tmp_path / "recipes" / "other.py").write_text("import torch\n# not transformers\n")
    return str(tmp_path)


@pytest.mark.parametrize(
    "model",
    [
        Model(entry="uses.py:build"),
        Model(entry="transformers.BertModel"),
        Model(huggingface="folder"),
    ],
)
def test_what_recipes_import_is_there_before(root, model):
    """One of the recipes of a call uses transformers: the server imports it once for all their steps."""
    recipes = [make(Model(entry="other.py:build")), make(model)]

    assert expected_libraries(recipes, root) == ("torch", TRANSFORMERS)


@pytest.mark.parametrize(
    "model",
    [
        Model(entry="other.py:build"),
        Model(entry="missing.py:build"),
        Model(entry="package.module:build"),
        Model(onnx="net.onnx"),
    ],
)
def test_others_do_not_wait_for_it(root, model):
    """Recipes without transformers pay nothing for it, and an entry that cannot be read is no matter here."""
    assert expected_libraries([make(model)], root) == ("torch",)


def test_declared_variables_are_seen_by_the_import(root):
    """A step that is given variables imports the library itself, which reads some of them as it is imported."""
    recipe = make(Model(entry="uses.py:build"), pass_env=("HF_HOME",))

    assert expected_libraries([recipe], root) == ("torch",)
