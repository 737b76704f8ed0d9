"""The promises of the ``evaluate`` and ``score`` steps."""

import numpy as np
import pytest
from onnx import TensorProto, helper

from onnxbuild.core.step import Output, Step
from onnxbuild.errors import DataError
from onnxbuild.recipe.schema import Model, Recipe, Verify
from onnxbuild.steps.evaluate import spec
from onnxbuild.steps.evaluate.run import evaluate, score

ACCURACY = """
def metric(pairs):
    right = total = 0
    for outputs, batch in pairs:
        right += int((outputs["y"].argmax(1) == batch["label"]).sum())
        total += len(batch["label"])
    return right / total
"""


def make_model(kind=TensorProto.FLOAT):
    graph = helper.make_graph(
        [helper.make_node("Neg", ["x"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", kind, ["batch", 3])],
        [helper.make_tensor_value_info("y", kind, ["batch", 3])],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


def make_items():
    return [
        {"x": np.array([[0, 1, 2], [2, 1, 0]], np.float32), "label": np.array([0, 2])},
        {"x": np.array([[1, 0, 2]], np.float32), "label": np.array([2])},
    ]


def run(bench, tmp_path, code, items=None, model=None):
    (tmp_path / "own.py").write_text(code)
    results = bench.run(
        evaluate,
        spec.EvaluateOptions(metric="own.py:metric"),
        {"model": bench.model(model or make_model()), "items": bench.arrays(items or make_items())},
    )
    return bench.json(results["metric"])


def test_a_metric_sees_outputs_and_labels_of_all_items(bench, tmp_path):
    """One number is called ``metric``."""
    assert run(bench, tmp_path, ACCURACY) == {"metric": pytest.approx(2 / 3)}
    assert bench.notes == {"items": 2}


def test_a_metric_of_several_numbers_keeps_their_names(bench, tmp_path):
    """numpy's numbers too."""
    code = (
        "import numpy as np\n"
        "def metric(pairs):\n"
        "    ys = [outputs['y'] for outputs, _ in pairs]\n"
        "    return {'mean': np.mean(np.concatenate(ys)), 'count': len(ys)}\n"
    )

    assert run(bench, tmp_path, code) == {"mean": -1.0, "count": 2.0}


def test_the_same_metric_is_measured_on_the_predictions(bench, tmp_path):
    """PyTorch's own value, from its outputs."""
    (tmp_path / "own.py").write_text(ACCURACY)
    predictions = [{"y": np.eye(3)[[0, 2]]}, {"y": np.eye(3)[[2]]}]

    results = bench.run(
        score,
        spec.EvaluateOptions(metric="own.py:metric"),
        {"predictions": bench.arrays(predictions), "items": bench.arrays(make_items())},
    )

    assert bench.json(results["metric"]) == {"metric": 1.0}


def test_items_are_fed_with_the_type_that_the_model_takes(bench, tmp_path):
    """A half model takes half inputs; the data stay as they are."""
    code = (
        "def metric(pairs):\n"
        "    return {str(o['y'].dtype) + str(b['x'].dtype): 1 for o, b in pairs}\n"
    )

    assert run(bench, tmp_path, code, model=make_model(TensorProto.FLOAT16)) == {
        "float16float32": 1.0
    }


def test_a_metric_that_stops_early_says_so(bench, tmp_path):
    """In the notes."""
    run(bench, tmp_path, "def metric(pairs):\n    next(pairs)\n    return 1\n")

    assert bench.notes == {"items": 1, "unseen": 1}


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("return 0.5", "did not look at any of the 2 items"),
        ("return float('nan') * len(list(pairs))", "returned nan for 'metric'"),
        ("return {'a': float('inf') * len(list(pairs))}", "returned inf for 'a'"),
        ("list(pairs)", "returned None for 'metric', which is no number"),
        ("return [len(list(pairs)), 2]", r"returned \[2, 2\] for 'metric', which is no number"),
        ("return {} if list(pairs) else 0", "returned an empty dict"),
        ("return [1 / 0 for _ in pairs]", "the metric own.py:metric failed: ZeroDivisionError"),
        ("return [b['labels'] for _, b in pairs]", "failed: KeyError: 'labels'"),
    ],
)
def test_a_metric_that_gives_no_number_is_refused_in_words(bench, tmp_path, body, words):
    """With what it gave."""
    with pytest.raises(DataError, match=words):
        run(bench, tmp_path, f"def metric(pairs):\n    {body}\n")


def test_data_that_the_model_cannot_take_is_not_the_metrics_fault(bench, tmp_path):
    """The message names item and input."""
    with pytest.raises(DataError) as caught:
        run(bench, tmp_path, ACCURACY, items=[{"image": np.ones(1), "label": np.ones(1)}])

    assert caught.value.what == "item 0 has no x"
    assert caught.value.hint == "it has: image, label; the model's inputs are x"


def test_the_steps_run_the_users_code_in_the_recipes_folder():
    """With the declared variables; only a model's metric depends on the machine."""
    recipe = Recipe(name="r", folder="recipes", model=Model(entry="m.py:M"), pass_env=("HOME",))
    gates = Verify(metric="m.py:accuracy", data="d")
    source = Output(Step(run="s", label="s"))

    model = spec.evaluate(recipe, "int8", gates, source, source).step
    torch = spec.score(recipe, gates, source, source).step

    for step in (model, torch):
        assert (step.folder, step.variables, step.outputs) == ("recipes", ("HOME",), ("metric",))
        assert step.options == spec.EvaluateOptions(metric="m.py:accuracy")
    assert model.machine
    assert model.resources.isolate
    assert not torch.machine
    with pytest.raises(ValueError, match="no metric"):
        spec.score(recipe, Verify(), source, source)
