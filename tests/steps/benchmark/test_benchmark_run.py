"""The promises of the ``benchmark`` step. None is about how fast anything is."""

import numpy as np
from onnx import TensorProto, helper

from onnxbuild.core.step import Output, Step
from onnxbuild.recipe.schema import Model, Recipe, Verify
from onnxbuild.steps.benchmark import spec
from onnxbuild.steps.benchmark.run import LEAST_RUNS, benchmark


def make_model(operator, others=()):
    graph = helper.make_graph(
        [helper.make_node(operator, ["x", *others], ["y"])],
        "g",
        [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 3])
            for name in ("x", *others)
        ],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 3])],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


def run(bench, model, baseline, source=None):
    samples = [{"x": np.ones((size, 3), np.float32)} for size in (3, 2, 2)]
    results = bench.run(
        benchmark,
        spec.BenchmarkOptions(seconds=0),
        {
            "model": bench.model(model),
            "baseline": bench.model(baseline),
            "samples": bench.arrays(samples),
            **({} if source is None else {"source": bench.model(source)}),
        },
    )
    return bench.json(results["latency"])


def test_a_model_is_timed_beside_its_baseline(bench):
    """A few runs at the least, and their ratio."""
    found = run(bench, make_model("Neg"), make_model("Exp"))

    assert found["runs"] == LEAST_RUNS
    assert found["seconds"] > 0
    assert found["baseline"] > 0
    assert found["speedup"] == found["baseline"] / found["seconds"]


def test_the_exported_model_is_as_fast_as_itself(bench):
    """It is timed once."""
    found = run(bench, make_model("Neg"), make_model("Neg"))

    assert found["speedup"] == 1.0
    assert found["seconds"] == found["baseline"]


def test_a_graph_without_its_weights_is_not_timed(bench):
    """Nothing is known of its speed."""
    found = run(bench, make_model("Add", ("w",)), make_model("Neg"))

    assert found.pop("runs") == 0
    assert set(found.values()) == {None}


def test_a_model_is_timed_beside_what_it_comes_from(bench):
    """Where that is another than the exported one."""
    found = run(bench, make_model("Neg"), make_model("Exp"), make_model("Abs"))
    alone = run(bench, make_model("Neg"), make_model("Exp"))

    assert found["speedup_over_source"] == found["source"] / found["seconds"]
    assert found["source"] != found["baseline"]
    assert alone["source"] == alone["baseline"]


def test_the_step_runs_alone_where_speed_is_asked_for():
    """A gate on the speed gets a longer run with nothing beside it; else a quick look is enough."""
    asked = Recipe(name="r", model=Model(entry="m.py:M"), verify={"int8": Verify(min_speedup=1.5)})
    source = Output(Step(run="s", label="s"))

    gated = spec.benchmark(asked, "int8", source, source, source.step, source).step
    quick = spec.benchmark(asked, "fp16", source, source, source.step, source).step

    assert (gated.resources.exclusive, quick.resources.exclusive) == (True, False)
    assert gated.options.seconds > quick.options.seconds
    assert gated.machine
    assert quick.machine
    assert gated.inputs["samples"] == Output(source.step, "samples")
