"""A small project whose recipe is right."""

import pytest

RECIPE = """\
model:
  entry: net/model.py:build
  kwargs: {width: 32}
  weights: net/weights.safetensors
inputs:
  image: [batch, 1, 8, 8]
outputs: [logits]
dynamic_axes:
  logits: {0: batch}
data:
  calibration: net/data.py:calibration
stages:
  slim: onnxoptimizer
  fp16: {use: float16, from: slim}
  int8: {use: quantize_static, from: slim, data: calibration}
verify:
  int8: {max_size_ratio: 0.5}
"""


@pytest.fixture
def project(tmp_path, monkeypatch):
    root = tmp_path / "project"
    (root / "recipes/net").mkdir(parents=True)
    (root / "pyproject.toml").touch()
    (root / "recipes/net/model.py").write_text("def build(width=16): ...\n")
    (root / "recipes/net/data.py").write_text("def calibration(): ...\n")
    (root / "recipes/net/weights.safetensors").write_bytes(b"")
    (root / "recipes/small.yaml").write_text(RECIPE)
    monkeypatch.chdir(root)
    monkeypatch.delenv("ONNXBUILD_STORE", raising=False)
    return root
