"""The promises of the ``verify`` step."""

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from onnxbuild.errors import DataError, ModelError
from onnxbuild.recipe.schema import Verify
from onnxbuild.report.judge import judge
from onnxbuild.steps.verify import half, inside
from onnxbuild.steps.verify.run import verify
from onnxbuild.steps.verify.spec import VerifyOptions

ONNX = {np.dtype("float32"): TensorProto.FLOAT, np.dtype("float16"): TensorProto.FLOAT16}
WIDTH = 40


def make_model(nodes, weights, inputs, outputs, *, opset=18):
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info(name, kind, dims) for name, kind, dims in inputs],
        [helper.make_tensor_value_info(name, kind, None) for name, kind in outputs],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def linear(weight, bias):
    """y = x @ w + b, in the type of the weight."""
    kind = ONNX[weight.dtype]
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["xw"], name="product"),
        helper.make_node("Add", ["xw", "b"], ["y"], name="sum"),
    ]
    return make_model(
        nodes, {"w": weight, "b": bias}, [("x", kind, ["batch", WIDTH])], [("y", kind)]
    )


def make_samples(function):
    """A traced sample, two examples and another shape, with what `function` makes of them."""
    generator = np.random.default_rng(1)
    shapes = [("trace", 3), ("example", 2), ("example", 2), ("batch=5", 5)]
    samples = [
        {"x": generator.standard_normal((size, WIDTH)).astype(np.float32)} for _, size in shapes
    ]
    told = [{"name": name, "sizes": {"batch": size}} for name, size in shapes]
    return samples, told, [{"y": np.asarray(function(item["x"]))} for item in samples]


def run(bench, model, function, **options):
    samples, shapes, reference = make_samples(function)
    results = bench.run(
        verify,
        VerifyOptions(**options),
        {
            "model": bench.model(model),
            "samples": bench.arrays(samples),
            "shapes": bench.value(shapes),
            "reference": bench.arrays(reference),
        },
    )
    return bench.json(results["fidelity"])


def gates(fidelity, precision="fp32", **verify_options):
    """Describe the gates that are missed."""
    findings = judge(
        variant="v",
        precision=precision,
        verify=Verify(**verify_options),
        fidelity=fidelity,
        metric=None,
        reference_metric=None,
        size=1,
        export_size=1,
        latency=None,
        export={},
    )
    return [item.describe() for item in findings if not item.passed and item.level == "gate"]


@pytest.fixture
def weights():
    generator = np.random.default_rng(0)
    return (
        generator.standard_normal((WIDTH, WIDTH)).astype(np.float32),
        generator.standard_normal(WIDTH).astype(np.float32),
    )


def test_a_right_model_is_measured_at_every_shape(bench, weights):
    """But not at the one that was traced. Nothing about it is missed."""
    weight, bias = weights

    found = run(bench, linear(weight, bias), lambda x: x @ weight + bias, outputs=("y",))

    assert [(item["name"], item["outputs"]["y"]["samples"]) for item in found["shapes"]] == [
        ("example", 2),
        ("batch=5", 1),
    ]
    assert found["model"]["nodes"] == 2
    assert found["outputs"]["y"]["max_abs"] < 1e-4
    assert found["outputs"]["y"]["cosine"] > 0.999999
    assert found["constant"] == []
    assert found["half"] is None
    assert found["perturbed"]["tried"][0]["weight"] == "w"
    assert found["perturbed"]["tried"][0]["outputs"]["y"]["scaled"] > 0.5
    assert gates(found) == []


def test_a_wrong_weight_is_seen(bench, weights):
    """One element is enough where it counts."""
    weight, bias = weights
    wrong = weight.copy()
    wrong[3, 4] += 5

    found = run(bench, linear(wrong, bias), lambda x: x @ weight + bias)

    assert any("scaled error of `y`" in line for line in gates(found))


def test_a_wrong_shape_only_at_a_corner_is_seen(bench):
    """A graph that fixes the batch fails there, in words."""
    nodes = [helper.make_node("Reshape", ["x", "shape"], ["y"])]
    model = make_model(
        nodes,
        {"shape": np.array([2, WIDTH])},
        [("x", TensorProto.FLOAT, ["batch", WIDTH])],
        [("y", TensorProto.FLOAT)],
    )

    with pytest.raises(ModelError, match=r"the model fails on sample 'batch=5' \(batch=5\)"):
        run(bench, model, lambda x: x)


def test_an_output_of_another_shape_is_a_missed_gate(bench, weights):
    """And an output that is missing too."""
    weight, bias = weights

    other = run(bench, linear(weight, bias), lambda x: (x @ weight)[:, :3])
    model = linear(weight, bias)
    model.graph.output[0].name = "z"
    model.graph.node[1].output[0] = "z"
    missing = run(bench, model, lambda x: x @ weight)

    assert "its shape is [2, 40], PyTorch's is [2, 3]" in gates(other)[0]
    assert "the model has no such output" in gates(missing)[0]


def test_an_output_that_never_changes_is_reported(bench, weights):
    """A comparison of it proves nothing, and that is a missed gate."""
    _, bias = weights
    zeros = np.zeros((WIDTH, WIDTH), np.float32)

    found = run(bench, linear(zeros, bias), lambda x: np.zeros_like(x) + bias)

    assert found["constant"] == ["y"]
    assert ["comparison with a weight broken" in line for line in gates(found)] == [True]


def test_a_tolerance_that_nothing_can_miss_is_refused(bench, weights):
    """Whatever the model."""
    weight, bias = weights

    found = run(bench, linear(weight, bias), lambda x: x @ weight + bias)

    assert gates(found, scaled=0.01) == []
    assert gates(found, rtol=1e-3, atol=1e-3) == []
    assert "passed, with each of w" in gates(found, scaled=1000)[0]


def test_a_model_without_weights_says_so(bench):
    """There is nothing to break."""
    model = make_model(
        [helper.make_node("Sigmoid", ["x"], ["y"])],
        {},
        [("x", TensorProto.FLOAT, ["batch", WIDTH])],
        [("y", TensorProto.FLOAT)],
    )

    found = run(bench, model, lambda x: 1 / (1 + np.exp(-x)))

    assert found["perturbed"] == {"none": "the model has no weights that could be broken"}
    assert gates(found) == []


def test_the_first_node_that_gives_no_number_is_named(bench, weights):
    """So that it can be looked at."""
    weight, _ = weights
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["xw"], name="product"),
        helper.make_node("Log", ["xw"], ["log"], name="logarithm"),
        helper.make_node("Neg", ["log"], ["y"], name="negation"),
    ]
    model = make_model(
        nodes,
        {"w": weight},
        [("x", TensorProto.FLOAT, ["batch", WIDTH])],
        [("y", TensorProto.FLOAT)],
    )

    found = run(bench, model, lambda x: -np.log(np.abs(x @ weight)))

    assert found["bad_node"] == {"node": "logarithm", "operator": "Log", "result": "log"}
    (line,) = gates(found)[:1]
    assert line == "output of `y` at example (batch=2) is NaN or infinite, asked: finite numbers"


def test_an_overflow_in_half_is_seen_though_the_cpu_does_not_show_it(bench):
    """onnxruntime's CPU provider gives the right numbers here; an accelerator would give infinity."""
    large = np.full((WIDTH, WIDTH), 30000, np.float16)
    nodes = [
        helper.make_node("Cast", ["x"], ["h"], to=TensorProto.FLOAT16),
        helper.make_node("MatMul", ["h", "w"], ["a"], name="grows"),
        helper.make_node("Abs", ["a"], ["b"], name="stays"),
        helper.make_node("Mul", ["b", "s"], ["c"], name="shrinks"),
        helper.make_node("Cast", ["c"], ["y"], to=TensorProto.FLOAT),
    ]
    model = make_model(
        nodes,
        {"w": large, "s": np.array(2**-10, np.float16)},
        [("x", TensorProto.FLOAT, ["batch", WIDTH])],
        [("y", TensorProto.FLOAT)],
    )

    found = run(bench, model, lambda x: np.abs(x @ large.astype(np.float32)) * 2**-10)

    assert found["half"]["overflow"]["node"] == "grows"
    missed = gates(found, "fp16", scaled=1.5)
    assert any("node 'grows' (MatMul)" in line for line in missed)


@pytest.mark.parametrize("fits", [True, False])
def test_an_overflow_at_the_largest_size_alone_is_seen(bench, monkeypatch, fits):
    """A sum over the batch holds at the example, and not where there is more to sum up."""
    if not fits:
        monkeypatch.setattr(half, "MOST_BYTES", 0)
    nodes = [
        helper.make_node("Cast", ["x"], ["h"], to=TensorProto.FLOAT16),
        helper.make_node("Abs", ["h"], ["a"], name="size"),
        helper.make_node("Add", ["a", "w"], ["b"], name="base"),
        helper.make_node("ReduceSum", ["b", "axes"], ["c"], name="total"),
        helper.make_node("Mul", ["c", "s"], ["d"], name="shrinks"),
        helper.make_node("Cast", ["d"], ["y"], to=TensorProto.FLOAT),
    ]
    weights = {
        "w": np.full((1, WIDTH), 20000, np.float16),
        "s": np.array(2**-10, np.float16),
        "axes": np.array([0], np.int64),
    }
    model = make_model(
        nodes, weights, [("x", TensorProto.FLOAT, ["batch", WIDTH])], [("y", TensorProto.FLOAT)]
    )

    found = run(
        bench,
        model,
        lambda x: (np.abs(x) + 20000).sum(0, keepdims=True).astype(np.float32) * 2**-10,
    )

    assert "overflow" not in found["half"]
    missed = gates(found, "fp16", scaled=1.5)
    if fits:
        assert found["half_at_most"]["overflow"]["node"] == "total"
        assert any("node 'total' (ReduceSum) at sample 'batch=5'" in line for line in missed)
    else:
        assert any("in true half precision the output" in line for line in missed)


def test_a_half_model_that_is_right_passes_in_true_half_too(bench, weights):
    """Its inputs are half; the samples are cast."""
    weight, bias = (array.astype(np.float16) for array in weights)

    found = run(bench, linear(weight, bias), lambda x: x @ weights[0] + weights[1])

    assert found["outputs"]["y"]["dtype"] == "float16"
    assert found["half"]["true_half"]["y"]["finite"]
    assert 0 < found["half"]["largest"] < 65504
    assert "overflow" not in found["half"]
    assert gates(found, "fp16") == []


def test_a_mask_of_minus_infinity_is_no_overflow(bench):
    """It was meant, and goes through softmax well."""
    mask = np.where(np.tri(WIDTH) > 0, 0, -np.inf).astype(np.float16)
    nodes = [
        helper.make_node("Cast", ["x"], ["h"], to=TensorProto.FLOAT16),
        helper.make_node("Add", ["m", "h0"], ["masked"]),
        helper.make_node("Softmax", ["masked"], ["p"]),
        helper.make_node("MatMul", ["h", "p"], ["o"]),
        helper.make_node("Cast", ["o"], ["y"], to=TensorProto.FLOAT),
    ]
    zeros = np.zeros((WIDTH, WIDTH), np.float16)
    model = make_model(
        nodes,
        {"m": mask, "h0": zeros},
        [("x", TensorProto.FLOAT, ["batch", WIDTH])],
        [("y", TensorProto.FLOAT)],
    )
    with np.errstate(over="ignore"):
        shares = np.exp(mask.astype(np.float64))
    shares /= shares.sum(1, keepdims=True)

    found = run(bench, model, lambda x: (x @ shares).astype(np.float32))

    assert "overflow" not in found["half"]
    assert not [line for line in gates(found, "fp16") if "half" in line]


@pytest.mark.parametrize(
    ("row", "level"),
    [
        pytest.param([0, 1, 1, 1], "warning", id="harmless"),
        pytest.param([1, 1, 1, 1], "gate", id="nothing-left"),
    ],
)
def test_scores_that_become_minus_infinity_are_judged_by_what_comes_of_them(
    bench, monkeypatch, row, level
):
    """Too large a model for the reference implementation: a masked score does no harm before a softmax, a row of
    nothing else gives no numbers."""
    monkeypatch.setattr(half, "MOST_NODES", 0)
    hidden = np.tile(np.array([row], np.float16), WIDTH // 4)
    nodes = [
        helper.make_node("Cast", ["x"], ["h"], to=TensorProto.FLOAT16),
        helper.make_node("MatMul", ["h", "w"], ["scores"]),
        helper.make_node("Mul", ["hidden", "least"], ["mask"]),
        helper.make_node("Add", ["scores", "mask"], ["masked"], name="hide"),
        helper.make_node("Mul", ["masked", "two"], ["doubled"], name="double"),
        helper.make_node("Softmax", ["doubled"], ["p"]),
        helper.make_node("Cast", ["p"], ["y"], to=TensorProto.FLOAT),
    ]
    weight = np.eye(WIDTH, dtype=np.float16)
    constants = {
        "w": weight, "hidden": hidden, "least": np.array(-65504, np.float16), "two": np.array(2, np.float16)
    }  # fmt: skip
    model = make_model(
        nodes, constants, [("x", TensorProto.FLOAT, ["batch", WIDTH])], [("y", TensorProto.FLOAT)]
    )

    def expect(x):
        doubled = (x + hidden * -65504.0) * 2
        shares = np.exp(doubled - doubled.max(1, keepdims=True))
        return (shares / shares.sum(1, keepdims=True)).astype(np.float32)

    found = run(bench, model, expect)

    assert found["half"]["overflow"]["node"] == "double"
    assert ("node 'double'" in "".join(gates(found, "fp16"))) == (level == "gate")


def test_a_large_half_model_is_not_run_in_the_slow_implementation(bench):
    """And it says why."""
    wide = np.eye(WIDTH, dtype=np.float16)
    nodes = [
        helper.make_node("MatMul", ["x" if i == 0 else f"v{i}", "w"], [f"v{i + 1}"])
        for i in range(350)
    ]
    nodes[-1].output[0] = "y"
    model = make_model(
        nodes,
        {"w": wide},
        [("x", TensorProto.FLOAT16, ["batch", WIDTH])],
        [("y", TensorProto.FLOAT16)],
    )

    found = run(bench, model, lambda x: x)

    assert "in 350 nodes are too many" in found["half"]["skipped"]


def test_a_half_model_too_large_to_look_into_is_rounded_all_the_same(bench, monkeypatch):
    """An overflow shows in what comes out of it."""
    monkeypatch.setattr(inside, "MOST_NODES", 0)
    nodes = [
        helper.make_node("Cast", ["x"], ["h"], to=TensorProto.FLOAT16),
        helper.make_node("MatMul", ["h", "w"], ["grown"]),
        helper.make_node("Cast", ["grown"], ["y"], to=TensorProto.FLOAT),
    ]
    large = np.full((WIDTH, WIDTH), 60000, np.float16)
    model = make_model(
        nodes,
        {"w": large},
        [("x", TensorProto.FLOAT, ["batch", WIDTH])],
        [("y", TensorProto.FLOAT)],
    )

    found = run(bench, model, lambda x: x @ large.astype(np.float32))

    assert "too many to look at" in found["half"]["skipped"]
    assert any("in true half precision the output" in line for line in gates(found, "fp16"))


def test_a_graph_without_its_weights_is_not_compared(bench, weights):
    """Where the recipe asks for such a graph; otherwise a missing input is an error."""
    model = linear(*weights)
    for tensor in model.graph.initializer:
        model.graph.input.append(
            helper.make_tensor_value_info(tensor.name, TensorProto.FLOAT, list(tensor.dims))
        )
    del model.graph.initializer[:]

    found = run(bench, model, lambda x: x, weights=False)

    assert found == {
        "model": {"nodes": 2, "opset": 18, "ir_version": 8, "half": ""},
        "weightless": ["w", "b"],
    }
    assert gates(found) == []
    with pytest.raises(DataError, match="has no w, b"):
        run(bench, model, lambda x: x)


def test_a_model_that_does_not_load_is_an_error_in_words(bench):
    """onnxruntime's reason, without paths."""
    model = make_model(
        [helper.make_node("NoSuchOperator", ["x"], ["y"])],
        {},
        [("x", TensorProto.FLOAT, ["batch", WIDTH])],
        [("y", TensorProto.FLOAT)],
    )

    with pytest.raises(ModelError, match=r"does not load in onnxruntime: .*NoSuchOperator"):
        run(bench, model, lambda x: x)


def test_a_quantized_weight_is_broken_too(bench, weights):
    """int8 weights behind a DequantizeLinear."""
    weight, bias = weights
    scale = np.abs(weight).max() / 127
    whole = np.round(weight / scale).astype(np.int8)
    nodes = [
        helper.make_node("DequantizeLinear", ["q", "scale"], ["w"]),
        helper.make_node("MatMul", ["x", "w"], ["xw"]),
        helper.make_node("Add", ["xw", "b"], ["y"]),
    ]
    model = make_model(
        nodes,
        {"q": whole, "scale": np.float32(scale), "b": bias},
        [("x", TensorProto.FLOAT, ["batch", WIDTH])],
        [("y", TensorProto.FLOAT)],
    )

    found = run(bench, model, lambda x: x @ weight + bias)

    assert found["perturbed"]["tried"][0]["weight"] == "q"
    assert gates(found, "int8") == []


def test_a_lost_column_of_small_values_is_seen(bench, weights):
    """The whole output's errors are tiny; the column's own is not, at whatever shape."""
    weight, bias = (array.copy() for array in weights)
    weight[:, 7], bias[7] = weight[:, 7] * 1e-5, 0
    lost = weight.copy()
    lost[:, 7] = 0

    fidelity = run(bench, linear(lost, bias), lambda x: x @ weight + bias)

    output = fidelity["outputs"]["y"]
    assert output["scaled"] < 1e-4
    assert output["channels"][0]["channel"] == 7
    assert output["channels"][0]["values"] == 9
    (line,) = gates(fidelity)
    assert "channel 7 (axis 1) of `y`" in line
    assert gates(run(bench, linear(weight, bias), lambda x: x @ weight + bias)) == []


def test_a_weight_that_only_a_branch_uses_is_broken_too(bench, weights):
    """A model may be one `If`; what decides is no weight to break."""
    branches = [
        helper.make_graph(
            [helper.make_node("MatMul", ["x", "w"], [name])],
            name,
            [],
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, None)],
        )
        for name in ("then", "else")
    ]
    nodes = [
        helper.make_node("ReduceSum", ["x"], ["s"], keepdims=0),
        helper.make_node("Greater", ["s", "zero"], ["positive"]),
        helper.make_node(
            "If", ["positive"], ["y"], then_branch=branches[0], else_branch=branches[1]
        ),
    ]
    model = make_model(
        nodes,
        {"w": weights[0], "zero": np.array(0, np.float32)},
        [("x", TensorProto.FLOAT, ["batch", WIDTH])],
        [("y", TensorProto.FLOAT)],
    )

    found = run(bench, model, lambda x: x @ weights[0])

    assert found["perturbed"]["tried"][0]["weight"] == "w"
    assert gates(found) == []
