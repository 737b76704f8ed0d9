"""What the user sees for each wrong recipe, to the letter.

After a change on purpose: ``ONNXBUILD_WRITE_SNAPSHOTS=1 pytest tests/recipe/test_recipe_wrong.py``, and read the
difference.
"""

import os
from pathlib import Path

import pytest

from onnxbuild.compose import validate
from onnxbuild.compose.composing import compose_anew
from onnxbuild.errors import RecipeError

SNAPSHOTS = Path(__file__).parent.parent / "snapshots"

GOOD = """\
model:
  entry: net/model.py:build
  kwargs: {width: 32}
  weights: net/weights.safetensors
inputs:
  image: {shape: [2, 1, 8, 8], range: [0, 1]}
outputs: [logits]
dynamic_axes:
  image: {0: batch}
  logits: {0: batch}
dims:
  batch: {min: 1, max: 64}
export: {opset: 18}
data:
  calibration: net/data.py:calibration
stages:
  slim: onnxoptimizer
  int8: {use: quantize_static, from: slim, data: calibration}
verify:
  int8: {metric: net/data.py:accuracy, data: calibration, max_drop: 0.01}
"""

MODEL = """\
class Net: ...
class Swish: ...
def build(width=16, depth=2): ...
"""

DATA = """\
def calibration(): ...
def accuracy(pairs): ...
def prune(model, amount, *, seed=0): ...
"""

CASES = {
    "feeds": GOOD.replace("outputs: [logits]", "outputs: {logits: {feeds: imag}}").replace("max_drop: 0.01", "max_drop: 0.01, generate: 3"),
    "feeds_parts": GOOD.replace("range: [0, 1]}", "range: [0, 1]}\n  past.0.key: [1]\n  past.0.value: [1]")
    .replace("outputs: [logits]", 'outputs: {logits: {}, present: {expand: "{0..1}.key", feeds: past}, all: {feeds: past}}'),
    "feeds_output": GOOD + "feeds: {logit: image}\n",
    "outputs_form": GOOD.replace("outputs: [logits]", "outputs: {logits: {feed: image}}"),
    "generate": GOOD.replace("max_drop: 0.01", "max_drop: 0.01, generate: 3").replace("verify:\n", "verify:\n  slim: {min_agreement: 0.5}\n"),
    "expression": GOOD.replace("[2, 1, 8, 8]", "[batch, 1, 2*, 8]"),
    "expression_name": GOOD.replace("[2, 1, 8, 8]", "[batch, 1, 4 * btch, 8]"),
    "expression_negative": GOOD.replace("[2, 1, 8, 8]", "[batch, 1, batch - 3, 8]"),
    "expression_output": GOOD.replace("{0: batch}\ndims", "{0: batch + rest}\ndims"),
    "expression_size": GOOD.replace("{0: batch}\n  logits", "{0: batch, 2: 3*batch}\n  logits"),
    "expand_brace": GOOD.replace("range: [0, 1]}", 'range: [0, 1], expand: "{0..3"}'),
    "expanded": GOOD.replace(
        "image: {shape: [2, 1, 8, 8], range: [0, 1]}",
        'image: {expand: "{0..1}.{key,value}", shape: [2, 1.5], dtype: flot32, fill: 1, range: [0, 1]}',
    ).replace("  image: {0: batch}\n", "").replace("dims:\n  batch: {min: 1, max: 64}\n", ""),
    "constant_with_shape": GOOD.replace("range: [0, 1]}", "value: 3}\n  flag: {value: true, fill: 1}"),
    "parts_of_a_tensor": GOOD.replace("range: [0, 1]}", "range: [0, 1]}\n  image.0: [1]\n  x..y: [1]"),
    "constants_of_onnx": GOOD.replace("entry: net/model.py:build\n  kwargs: {width: 32}\n  weights: net/weights.safetensors", "onnx: net/model.onnx")
    .replace("range: [0, 1]}", "range: [0, 1]}\n  flag: {value: true}"),
    "unknown_key": GOOD.replace("opset: 18", "opsett: 18"),
    "unknown_section": GOOD.replace("outputs:", "ouputs:"),
    "order_of_stages": GOOD.replace(
        "  int8: {use: quantize_static, from: slim, data: calibration}",
        "  fp16: {use: float16, from: slim}\n  opt: {use: onnxruntime, from: fp16}\n"
        "  int8: {use: quantize_dynamic, from: opt}\n  twice: {use: quantize_static, from: int8, data: calibration}\n"
        "  fused: {use: transformer_fusion, from: int8}",
    ),
    "order_that_the_opset_decides": GOOD.replace(
        "  int8: {use: quantize_static, from: slim, data: calibration}",
        "  fp16: {use: float16, from: slim}\n  int8: {use: quantize_static, from: fp16, data: calibration}",
    ),
    "order_of_last_stages": GOOD.replace(
        "  int8: {use: quantize_static, from: slim, data: calibration}",
        "  int8: {use: quantize_static, from: slim, data: calibration}\n"
        "  two: {use: split, from: int8, parts: 2, at: [net.head]}\n  more: {use: onnxslim, from: two}\n"
        "  fp16: {use: float16, from: slim}\n  phone: {use: ort_format, from: fp16}\n"
        "  bf16: {use: float16, from: slim, dtype: bfloat16}\n  cut: {use: split, from: bf16}",
    ),
    "torch_names": GOOD.replace(
        "export: {opset: 18}",
        "opset_version: 18\nexport: {do_constant_folding: true, dynamo: true, input_names: [image]}\n"
        "dynamic_shapes: {}\noutput_names: [logits]",
    ),
    "misplaced_key": GOOD.replace("export: {opset: 18}", "opset: 18\njobs: 2"),
    "wrong_types": GOOD.replace("opset: 18", "opset: '18', constant_folding: yes")
    .replace("outputs: [logits]", "outputs: logits")
    .replace("shape: [2, 1, 8, 8]", "shape: [2, 1.5, 8, 8.0]"),
    "wrong_choices": GOOD.replace("range: [0, 1]", "dtype: float").replace(
        "opset: 18", "exporter: dynamoo, external_data: sometimes"
    ),
    "limits": GOOD.replace("opset: 18", "opset: 3").replace("{min: 1, max: 64}", "{min: -1, max: 0}"),
    "no_model": GOOD[GOOD.index("inputs:") :],
    "empty_model": "model:\ninputs: {x: [1, 3]}\n",
    "model_without_source": GOOD.replace("  entry: net/model.py:build\n  kwargs: {width: 32}\n", "").replace(
        "  weights: net/weights.safetensors\n", "  wrap: net/model.py:Net\n"
    ),
    "two_models": GOOD.replace("  weights: net/weights.safetensors", "  onnx: net/model.onnx"),
    "weights_for_onnx": "model: {onnx: net/model.onnx, weights: net/weights.safetensors}\n",
    "exporting_an_onnx_file": (
        "model: {onnx: net/model.onnx}\n"
        "export: {exporter: torchscript, constant_folding: false, strict: false, opset: 18}\n"
    ),
    "no_inputs": "model: {entry: net/model.py:build}\n",
    "missing_files": GOOD.replace("weights.safetensors", "weight.safetensors").replace(
        "net/model.py", "nets/model.py"
    ),
    "missing_callable": GOOD.replace("model.py:build", "model.py:bild").replace(
        "data.py:calibration", "data.py"
    ),
    "not_a_callable": GOOD.replace("net/model.py:build", "build").replace(
        "net/data.py:accuracy", "no_such_package.metrics:accuracy"
    ),
    "entry_is_not_python": GOOD.replace("net/model.py:build", "net/broken.py:build"),
    "kwargs_of_entry": GOOD.replace("{width: 32}", "{widht: 32}"),
    "unknown_stage": GOOD.replace("slim: onnxoptimizer", "slim: onnxoptimiser"),
    "stage_without_use": GOOD.replace("slim: onnxoptimizer", "slim: {passes: [nop]}"),
    "unknown_option": GOOD.replace("data: calibration}", "data: calibration, per_chanel: true}"),
    "wrong_pass": GOOD.replace("slim: onnxoptimizer", "slim: {use: onnxoptimizer, passes: [fuse_bn_in_conv]}"),
    "unknown_parent": GOOD.replace("from: slim", "from: slime"),
    "cycle": GOOD.replace("slim: onnxoptimizer", "slim: {use: onnxoptimizer, from: int8}"),
    "reserved_names": GOOD.replace("slim: onnxoptimizer", "export: onnxoptimizer\n  a b: onnxoptimizer").replace(
        "from: slim", "from: export"
    ),
    "int8_without_data": GOOD.replace(", data: calibration}\nverify", "}\nverify"),
    "int8_without_any_data": GOOD.replace(", data: calibration}\nverify", "}\nverify")
    .replace("data:\n  calibration: net/data.py:calibration\n", "")
    .replace("verify:\n  int8: {metric: net/data.py:accuracy, data: calibration, max_drop: 0.01}\n", ""),
    "unknown_data": GOOD.replace("data: calibration}", "data: calibratoin}"),
    "data_without_source": GOOD.replace("calibration: net/data.py:calibration", "calibration: {samples: 8}"),
    "drop_without_metric": GOOD.replace("metric: net/data.py:accuracy, data: calibration, ", ""),
    "metric_without_data": GOOD.replace("accuracy, data: calibration, max_drop: 0.01", "accuracy"),
    "verify_unpublished": GOOD.replace("verify:\n  int8:", "verify:\n  fp16: {cosine: 0.9}\n  slim: {cosine: 0.9}\n  int8:"),
    "publish": GOOD + "publish: [int8, fp16, int8]\n",
    "publish_nothing": GOOD + "publish: []\n",
    "dynamo_opset": GOOD.replace("opset: 18", "opset: 17, exporter: dynamo"),
    "torchscript_opset": GOOD.replace("opset: 18", "opset: 8, exporter: torchscript"),
    "opset_is_a_release_of_onnx": GOOD.replace("opset: 18", "opset: 1.15"),
    "opset_is_a_release_of_onnx_with_a_zero": GOOD.replace("opset: 18", "opset: 1.20"),
    "opset_is_a_release_of_onnxruntime": GOOD.replace("opset: 18", "opset: 1.16.3"),
    "opset_is_a_word": GOOD.replace("opset: 18", "opset: newest"),
    "target_runs_less": GOOD.replace("opset: 18", "opset: 21, ir_version: 10") + "target: {onnxruntime: '1.16'}\n",
    "target_is_no_release": GOOD + "target: {onnxruntime: newest}\n",
    "target_is_no_text": GOOD + "target: {onnxruntime: 1.16}\n",
    "auto_opset": GOOD.replace("opset: 18", "opset: 7, keep_initializers_as_inputs: true"),
    "axes": GOOD.replace("  image: {0: batch}", "  image: {4: batch, -1: n, x: m}\n  img: {0: batch}"),
    "axis_sizes": GOOD.replace("range: [0, 1]}", "range: [0, 1]}\n  other: [3, 4]").replace(
        "  logits: {0: batch}", "  other: {0: batch}"
    ),
    "bounds": GOOD.replace("{min: 1, max: 64}", "{min: 4, max: 8, example: 2, verify: [9]}\n  sequence: {min: 1}"),
    "bounds_crossed": GOOD.replace("{min: 1, max: 64}", "{min: 8, max: 4}"),
    "values_of_integers": GOOD.replace(
        "range: [0, 1]}", "range: [0.2, 0.8], dtype: uint8}\n  mask: {shape: [1], fill: 0.5, dtype: bool}"
    ),
    "values_twice": GOOD.replace("range: [0, 1]", "range: [1, 1], fill: 0"),
    "outputs_twice": GOOD.replace("outputs: [logits]", "outputs: [logits, logits, image]"),
    "unknown_rule": GOOD + "replace:\n  sync_bachnorm: {}\n  other: {rule: nothing}\n",
    "rules_for_onnx": "model: {onnx: net/model.onnx}\n"
    "replace:\n  sync_batchnorm: {}\n  own: {rule: 'net/data.py:prune', amount: 1, level: grahp}\n",
    "rule_options": GOOD
    + "replace:\n  swish: {module: net/model.py:Swich, with: torch.nn.SiLU}\n  sync_batchnorm: {eps: 1}\n  half: {module: net/model.py:Swish}\n",
    "own_stage": GOOD.replace(
        "slim: onnxoptimizer", "slim: {use: 'net/data.py:prune', amuont: 0.5}\n  one: net/data.py:calibration"
    ),
    "settings": GOOD + "settings: {executor: proces, jobs: 0}\npass_env: ['HF_HOME=x']\nroots: {a-b: /tmp}\n",
    "interpolation": GOOD + "description: ${now:%Y}\nroots: {a: '${oc.env:ONNXBUILD_NOT_SET}', b: '${model.entri}'}\n",
    "duplicate": GOOD.replace("export: {opset: 18}", "export: {opset: 18}\ninputs: {}"),
    "name_and_range": "name: a/b\n" + GOOD.replace("range: [0, 1]", "range: [0, 1, 2]"),
    "paths": GOOD.replace("  weights: net/weights.safetensors", "  weights: net/model.py").replace(
        "calibration: net/data.py:calibration", "calibration: net/model.onnx"
    ),
    "path_is_folder": "model: {onnx: net}\n",
    "path_is_no_folder": "model: {huggingface: net/model.onnx}\ninputs: {x: [1]}\n",
    "data_twice": GOOD.replace(
        "calibration: net/data.py:calibration",
        "calibration: {entry: 'net/data.py:calibration', path: net, kwargs: {}}\n  other: {path: net, kwargs: {a: 1}}",
    ),
    "gates": GOOD.replace("metric: net/data.py:accuracy, data: calibration, max_drop: 0.01", "data: calibration, outputs: {logit: {cosine: 0.9}}"),
    "callable_forms": GOOD.replace("net/model.py:build", "':build'").replace("net/data.py:accuracy", "net/data.py:a b"),
    "package_beside": GOOD.replace("net/model.py:build", "net.model:build"),
    "torchscript_only": GOOD.replace("opset: 18", "opset: 18, exporter: dynamo, custom_opsets: {my.domain: 1}"),
    "scalar_axes": GOOD.replace("shape: [2, 1, 8, 8]", "shape: []").replace("logits: {0: batch}", "logits: {0: a-b}"),
    "empty_gates": GOOD.replace("metric: net/data.py:accuracy, data: calibration, ", "scaled: -1, cosine: 2, "),
    "dim_without_axes": GOOD.replace("  image: {0: batch}\n  logits: {0: batch}", "  logits: {}"),
    "list_in_defaults": "defaults: [_self_, _self_]\n" + GOOD,
    "malformed_interpolation": GOOD + "description: '${a'\n",
    "tab": GOOD.replace("  entry:", "\tentry:"),
    "defaults": "defaults: [base, {nothing: here}]\n" + GOOD,
    "defaults_are_text": "defaults: base\n" + GOOD,
    "defaults_in_a_circle": "defaults: [r]\n" + GOOD,
    "numbers_for_text": GOOD + "description: 3\n",
    "sections": "model: net/model.py:build\ninputs: [x]\nstages: [onnxoptimizer]\nverify: {default: 1}\nenv: ci\n",
    "dim_in_shape": GOOD.replace("shape: [2, 1, 8, 8]", "shape: [a b, 1, 8, 8]").replace("  image: {0: batch}\n", ""),
    "hydra": GOOD + "hydra: {run: {dir: x}}\n",
    "long_line": GOOD.replace("outputs: [logits]", "outputs: [" + ", ".join(f"output_{n}" for n in range(40)) + ", 7]"),
    "several": GOOD.replace("opset: 18", "opsett: 18").replace("range: [0, 1]", "rnage: [0, 1]").replace(
        "slim: onnxoptimizer", "slim: onnxoptimise"
    ),
}  # fmt: skip

OVERRIDES = {
    "override_unknown_key": ["export.opsett=18"],
    "override_unknown_section": ["expotr.opset=18", "enb=ci"],
    "override_value": ["export.opset=eighteen", "stages.int8.per_channel=maybe"],
    "override_stage": ["stages.int9.per_channel=false"],
    "override_environment": ["env=cii"],
    "override_syntax": ["export.opset", "=3", "a=[1", "export/opset=3"],
    "override_sweep": ["export.opset=18,20"],
    "override_delete": ["~stages.fp16", "~outputs.0"],
    "override_delete_other": ["~export.opset=17"],
    "override_deep": ["a=" + "[" * 400],
    "override_package": ["export@x.opset=3"],
    "override_through_text": ["model.entry.x.y=1"],
    "override_scalar": ["name.first=x", "inputs.image.shape.9=1"],
    "override_text": ["description=3", "export.metadata.fast=true"],
    "override_group": ["sise=big", "size=bgi"],
    "environment_mistake": ["env=wrong"],
    "config_mistake": ["size=big"],
}

ENVIRONMENT = """\
# @package _global_
export: {opset: 17, exporter: dynamo}
verify: {int8: {max_dorp: 0.5}}
"""


@pytest.fixture
def project(tmp_path, monkeypatch):
    (tmp_path / "net").mkdir()
    (tmp_path / "configs/env").mkdir(parents=True)
    (tmp_path / "configs/env/wrong.yaml").write_text(ENVIRONMENT)
    (tmp_path / "configs/size").mkdir()
    (tmp_path / "configs/size/big.yaml").write_text("modell: {kwargs: {width: 64}}\n")
    (tmp_path / "net/model.py").write_text(MODEL)
    (tmp_path / "net/data.py").write_text(DATA)
    (tmp_path / "net/broken.py").write_text("def build(:\n")
    (tmp_path / "net/model.onnx").write_bytes(b"")
    (tmp_path / "net/weights.safetensors").write_bytes(b"")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ONNXBUILD_STORE", raising=False)
    return tmp_path


def compare(name, text):
    path = SNAPSHOTS / f"{name}.txt"
    if os.environ.get("ONNXBUILD_WRITE_SNAPSHOTS"):
        path.write_text(text)
    assert text == path.read_text(), f"if this is right, write the snapshots anew (see {__file__})"


def refusal(project, overrides=()):
    with pytest.raises(RecipeError) as caught:
        compose_anew(str(project / "r.yaml"), list(overrides), root=str(project), shown_as="r.yaml")
    return str(caught.value).replace(str(project), "<project>") + "\n"


@pytest.mark.parametrize("name", CASES)
def test_a_wrong_recipe_says_what_and_where(project, name):
    """All mistakes at once, each with its place, a caret, and what to do."""
    (project / "r.yaml").write_text(CASES[name])

    text = refusal(project)

    compare(f"wrong_{name}", text)


@pytest.mark.parametrize("name", OVERRIDES)
def test_a_wrong_override_says_what_and_where(project, name):
    """A mistake that is not the file's says whose it is."""
    (project / "r.yaml").write_text(GOOD)

    text = refusal(project, OVERRIDES[name])

    compare(f"wrong_{name}", text)


def test_the_recipe_that_the_others_spoil_is_right(project):
    """So that each snapshot shows one mistake and not two."""
    (project / "r.yaml").write_text(GOOD)

    assert validate("r.yaml") == []
