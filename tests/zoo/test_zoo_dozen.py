"""A dozen architectures of the zoo, as different as can be; ``make zoo`` builds all."""

from __future__ import annotations

import json
import os
import shutil

import numpy as np
import onnxruntime
import pytest
from small_project import onnxbuild
from zoo.check import INT8_COSINE
from zoo.subject import HERE, Subject, names

pytestmark = pytest.mark.e2e

DOZEN = (
    "bert", "llama_cache", "vit", "spectrogram", "unet", "mobilenet", "vae", "lstm", "patchtst", "dlrm",
    "flow", "tcn",
)  # fmt: skip


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """What one call says that builds them all, by recipe and variant; and where."""
    folder = tmp_path_factory.mktemp("zoo")
    for name in ("models", "recipes"):
        shutil.copytree(os.path.join(HERE, name), folder / name)
    (folder / "pyproject.toml").write_text("")
    recipes = [f"recipes/{name}.yaml" for name in DOZEN]
    done = onnxbuild("run", "--json", "--keep-going", *recipes, cwd=folder)
    said = json.loads(done.stdout)
    published = {
        recipe["name"]: {item["variant"]: item for item in recipe["published"]}
        for recipe in said["recipes"]
    }
    return folder, published, [error["what"] for error in said["errors"]]


@pytest.mark.parametrize("name", DOZEN)
def test_it_is_built_right_at_every_corner_in_every_precision(built, name) -> None:
    """The export, fp16 and int8 are published, each within its precision's tolerance; and load."""
    folder, published, errors = built

    found = published[name]
    own = [error for error in errors if error.startswith(f"{name}: ")]

    assert not own
    assert set(found) == {"export", "fp16", "int8"}
    assert found["export"]["fidelity"]["scaled"] < 1e-4
    assert found["fp16"]["fidelity"]["scaled"] < 1e-2
    assert found["int8"]["fidelity"]["cosine"] >= INT8_COSINE
    for item in found.values():
        onnxruntime.InferenceSession(folder / item["path"], providers=["CPUExecutionProvider"])


def test_every_model_has_a_recipe_that_the_checks_understand() -> None:
    """The zoo has more than forty architectures, and each one's sizes and inputs can be made."""
    found = names()

    for name in found:
        subject = Subject(name)
        for _, sizes in subject.sizes():
            feed = subject.feed(sizes)
            assert all(isinstance(value, np.ndarray) for value in feed.values())
    assert len(found) > 40
    assert set(DOZEN) <= set(found)
