"""Any two stages, one after the other: what comes of them loads, or the plan says which order is right."""

import numpy as np
import onnx
import pytest

from onnxbuild.errors import StageError
from onnxbuild.stages.fix_dims.spec import FixDims
from onnxbuild.stages.float16.spec import Float16
from onnxbuild.stages.onnxoptimizer.spec import OnnxOptimizer
from onnxbuild.stages.onnxruntime.spec import OnnxRuntime
from onnxbuild.stages.onnxscript.spec import OnnxScript
from onnxbuild.stages.quantize_dynamic.spec import QuantizeDynamic
from onnxbuild.stages.quantize_static.spec import QuantizeStatic
from onnxbuild.stages.quantize_weights.spec import QuantizeWeights
from onnxbuild.stages.transformer_fusion.spec import TransformerFusion
from tests.stages.networks import convolutional, ids, images, transformer

OPSET = 21
"""Half precision can be quantized statically from opset 19 on."""

STAGES = {
    "onnxoptimizer": OnnxOptimizer(),
    "basic": OnnxRuntime(),
    "extended": OnnxRuntime(level="extended"),
    "all": OnnxRuntime(level="all"),
    "onnxscript": OnnxScript(),
    "float16": Float16(keep_io_types=True),
    "dynamic": QuantizeDynamic(),
    "static": QuantizeStatic(data="d"),
    "weights": QuantizeWeights(bits=8),
    "fix_dims": FixDims(dims={"batch": 2}),
    "fusion": TransformerFusion(model_type="bert"),
}

LEFT_NOTHING = {
    ("convolutional", first, "float16"): "no weight became half precision"
    for first in ("dynamic", "static")
}
"""What depends on the network: where all is integers, nothing is left for the second."""

NETWORKS = {"transformer": (transformer, ids), "convolutional": (convolutional, images)}

PAIRS = [
    pytest.param(network, first, id=f"{network}-{first}")
    for network in NETWORKS
    for first in STAGES
    if (network, first) != ("convolutional", "fusion")
]


@pytest.mark.parametrize(("network", "first"), PAIRS)
def test_what_the_plan_lets_through_loads_and_is_right(bench, cosine, network, first):
    """Each stage after the first one: refused by the plan with a hint, or near the model it came from."""
    make, feed = NETWORKS[network]
    bench.put_samples([feed(), feed(seed=7)], ["trace", "example"])
    data = bench.put_items([feed(seed=seed) for seed in range(8)])
    model = bench.put(make(OPSET))
    expected = bench.run(model, feed())[0]
    between = bench.apply(STAGES[first], model, data)

    for second, stage in STAGES.items():
        if stage.refuses(STAGES[first]) or (network, second) == ("convolutional", "fusion"):
            continue
        if (network, first, second) in LEFT_NOTHING:
            with pytest.raises(StageError, match=LEFT_NOTHING[network, first, second]):
                bench.apply(stage, between, data)
            continue
        made = bench.apply(stage, between, data)
        assert cosine(bench.run(made, feed())[0], expected) > 0.98, second


def test_most_orders_are_let_through():
    """The test above would pass if all were refused."""
    refused = {
        (first, second)
        for first, one in STAGES.items()
        for second, other in STAGES.items()
        if other.refuses(one)
    }

    assert ("float16", "basic") in refused
    assert ("float16", "dynamic") in refused
    assert ("static", "fusion") in refused
    assert ("fusion", "dynamic") not in refused
    assert ("fusion", "float16") not in refused
    assert len(refused) < 0.4 * len(STAGES) ** 2


def test_fixed_dims_are_fixed_in_the_interface_and_after_it(bench):
    """Of the file that is published, of the shapes that follow, and of what later stages make."""
    data = bench.put_items([ids(2, 5)])
    model = bench.put(transformer())

    fixed = bench.apply(FixDims(dims={"batch": 2, "sequence": 5}), model)
    small = bench.apply(QuantizeDynamic(), fixed, data)

    for artifact in (fixed, small):
        graph = onnx.load(bench.store.path(artifact), load_external_data=False).graph
        shapes = [
            [dim.dim_value for dim in value.type.tensor_type.shape.dim]
            for value in (*graph.input, *graph.output)
        ]
        assert shapes == [[2, 5], [2, 5, 48]]
    assert bench.run(small, ids(2, 5))[0].shape == (2, 5, 48)


def test_what_follows_from_fixed_dims_is_fixed_with_them(bench):
    """A size that follows from others has a number where all are fixed, and the rest of the expression else."""
    kinds = {"ids": ["sequence"], "past": ["past"], "all": ["past + sequence"]}
    values = {
        name: onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, dims)
        for name, dims in kinds.items()
    }
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Concat", ["past", "ids"], ["all"], axis=0)],
        "g", [values["ids"], values["past"]], [values["all"]],
    )  # fmt: skip
    opsets = [onnx.helper.make_opsetid("", OPSET)]
    model = bench.put(onnx.helper.make_model(graph, opset_imports=opsets, ir_version=10))

    def last(dims):
        fixed = bench.apply(FixDims(dims=dims), model)
        (value,) = onnx.load(bench.store.path(fixed), load_external_data=False).graph.output
        (dim,) = value.type.tensor_type.shape.dim
        return dim.dim_param or dim.dim_value

    assert last({"sequence": 4, "past": 3}) == 7
    assert last({"sequence": 1}) == "past + 1"


def test_a_dimension_that_the_model_lacks_is_named(bench):
    """With the nearest that it has."""
    with pytest.raises(StageError, match="'sequense'") as caught:
        bench.apply(FixDims(dims={"sequense": 5}), bench.put(transformer()))

    assert "'sequence'" in caught.value.hint


def test_a_transformer_is_fused_before_it_is_quantized(bench, cosine):
    """The kind is found, the numbers are the same, and the products are quantized after."""
    bench.put_samples([ids(), ids(3, 7, seed=2)], ["trace", "example"])
    model = bench.put(transformer())

    fused = bench.apply(TransformerFusion(), model)
    notes = dict(bench.notes)
    small = bench.apply(QuantizeDynamic(), fused)

    assert notes["fused"]
    np.testing.assert_allclose(bench.run(fused, ids())[0], bench.run(model, ids())[0], atol=1e-3)
    assert bench.notes["quantized_weights"] == 7
    assert cosine(bench.run(small, ids())[0], bench.run(model, ids())[0]) > 0.999
