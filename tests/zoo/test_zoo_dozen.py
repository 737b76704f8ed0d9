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


def test_a_dozen_is_built_right_at_every_corner_in_every_precision(tmp_path) -> None:
    """Export, fp16 and int8 of each are published, within their precision's tolerance, and load.

    One test, so that one call builds them all.
    """
    for name in ("models", "recipes"):
        shutil.copytree(os.path.join(HERE, name), tmp_path / name)
    (tmp_path / "pyproject.toml").write_text("")
    recipes = [f"recipes/{name}.yaml" for name in DOZEN]

    said = json.loads(onnxbuild("run", "--json", "--keep-going", *recipes, cwd=tmp_path).stdout)

    assert [error["what"] for error in said["errors"]] == []
    found = {
        (recipe["name"], item["variant"]): item
        for recipe in said["recipes"]
        for item in recipe["published"]
    }
    assert set(found) == {(name, kind) for name in DOZEN for kind in ("export", "fp16", "int8")}
    for name in DOZEN:
        assert found[name, "export"]["fidelity"]["scaled"] < 1e-4, name
        assert found[name, "fp16"]["fidelity"]["scaled"] < 1e-2, name
        assert found[name, "int8"]["fidelity"]["cosine"] >= INT8_COSINE, name
    for item in found.values():
        onnxruntime.InferenceSession(tmp_path / item["path"], providers=["CPUExecutionProvider"])


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
