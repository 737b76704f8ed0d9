"""A small project with a model, weights, data and a recipe of its own, and how to run it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap

MODEL = """
    import json, os
    import torch
    from helper import activation

    class Net(torch.nn.Module):
        def __init__(self, width):
            super().__init__()
            with open(os.path.join(os.path.dirname(__file__), "shape.json")) as file:
                classes = json.load(file)["classes"]
            self.conv = torch.nn.Conv2d(1, width, 3, padding=1)
            self.norm = torch.nn.SyncBatchNorm(width)
            self.head = torch.nn.Linear(width, classes)

        def forward(self, image):
            x = activation(self.norm(self.conv(image)))
            return self.head(x.mean((2, 3)))

    def build(width=8):
        return Net(width)
"""

DATA = """
    import numpy as np

    def batches(seed=0, count=6):
        generator = np.random.default_rng(seed)
        for _ in range(count):
            image = generator.random((4, 1, 8, 8), dtype=np.float32)
            yield {"image": image, "label": (image.mean((1, 2, 3)) > 0.5).astype(np.int64)}

    def agreement(pairs):
        scores = []
        for outputs, batch in pairs:
            scores.append(float((outputs["logits"].argmax(1) == batch["label"]).mean()))
        return sum(scores) / len(scores)
"""

RECIPE = """
    name: small
    model:
      entry: model.py:build
      kwargs: {width: 8}
      weights: weights.safetensors
    inputs:
      image: {shape: [batch, 1, 8, 8], range: [0, 1]}
    outputs: [logits]
    dynamic_axes:
      logits: {0: batch}
    dims:
      batch: {min: 1, max: 5}
    export: {opset: 18, exporter: torchscript}
    replace:
      sync_batchnorm: {}
    data:
      calibration: {entry: "data.py:batches", samples: 4}
      evaluation: {entry: "data.py:batches", kwargs: {seed: 1}}
    stages:
      slim: onnxoptimizer
      fp16: {use: float16, from: slim, keep_io_types: true}
      int8: {use: quantize_static, from: slim, data: calibration}
    verify:
      default: {metric: "data.py:agreement", data: evaluation, max_drop: 0.5}
    publish: [slim, fp16, int8]
"""

VARIANTS = ("slim", "fp16", "int8")

WEIGHTS = """
    import sys, torch
    sys.path.insert(0, ".")
    from model import build
    from safetensors.torch import save_file
    torch.manual_seed(int(sys.argv[1]) if len(sys.argv) > 1 else 0)
    save_file(build(8).state_dict(), "weights.safetensors")
"""


def write(folder, **files: str) -> None:
    for name, text in files.items():
        stem, _, ending = name.rpartition("_")
        (folder / f"{stem}.{ending}").write_text(textwrap.dedent(text))


def onnxbuild(*arguments: str, cwd, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command as a user does."""
    inherited = {
        key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"
    }
    return subprocess.run(
        [sys.executable, "-m", "onnxbuild", *arguments],
        cwd=cwd, env=inherited | {"NO_COLOR": "1"} | environment, capture_output=True, text=True, check=False,
    )  # fmt: skip


def run_json(cwd, *arguments: str, code: int = 0) -> dict:
    """Run ``onnxbuild run --json`` and give what it printed."""
    done = onnxbuild("run", "--json", "small.yaml", *arguments, cwd=cwd)
    assert done.returncode == code, done.stdout + done.stderr
    return json.loads(done.stdout)


def ran(result: dict) -> list[str]:
    """Name the steps that ran."""
    return [step["label"] for step in result["steps"] if step["status"] == "ran"]


def make_project(folder) -> None:
    """Write the project, with seeded weights."""
    folder.mkdir(parents=True)
    (folder / "pyproject.toml").write_text("")
    write(folder, model_py=MODEL, data_py=DATA, small_yaml=RECIPE, make_weights_py=WEIGHTS)
    write(folder, helper_py="import torch\nactivation = torch.relu\n", shape_json='{"classes": 2}')
    subprocess.run([sys.executable, "make_weights.py"], cwd=folder, check=True)
