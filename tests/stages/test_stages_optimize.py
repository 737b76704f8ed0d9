"""The stages onnxoptimizer, onnxruntime and custom."""

import typing

import numpy as np
import onnx
import onnxoptimizer
import pytest
from onnx import helper, numpy_helper, parser

from onnxbuild.errors import StageError, StepError
from onnxbuild.graph import load, summary
from onnxbuild.stages.custom.spec import Custom
from onnxbuild.stages.onnxoptimizer.spec import OnnxOptimizer, PassName
from onnxbuild.stages.onnxruntime.spec import OnnxRuntime

TEXT = """
<ir_version: 8, opset_import: ["" : OPSET], producer_name: "pytorch", doc_string: "about it">
g (float[batch, 64] x) => (float[batch, 64] y)
{
    one = Identity(x)
    two = MatMul(one, w)
    three = Identity(two)
    four = Add(three, b)
    y = Relu(four)
}
"""


def make(opset=17):
    model = parser.parse_model(TEXT.replace("OPSET", str(opset)))
    generator = np.random.default_rng(0)
    for name, shape in (("w", (64, 64)), ("b", (64,))):
        array = generator.standard_normal(shape).astype(np.float32)
        model.graph.initializer.append(numpy_helper.from_array(array, name))
    for index, node in enumerate(model.graph.node):
        node.name = f"layer{index}"
        node.metadata_props.add(key="namespace", value=f"m.Net/{index}")
    model.metadata_props.add(key="k", value="v")
    return model


def batch(size=3):
    return {"x": np.random.default_rng(1).standard_normal((size, 64)).astype(np.float32)}


def test_the_literal_pass_names_are_those_installed():
    """What a recipe may name is what onnxoptimizer has. Failing: bring `PassName` up to date."""
    assert set(typing.get_args(PassName)) == set(onnxoptimizer.get_available_passes())


@pytest.mark.parametrize(
    "stage",
    [
        pytest.param(OnnxOptimizer(), id="onnxoptimizer"),
        pytest.param(OnnxRuntime(), id="basic"),
        pytest.param(OnnxRuntime(level="extended"), id="extended"),
        pytest.param(OnnxRuntime(level="all"), id="all"),
    ],
)
@pytest.mark.parametrize("opset", [9, 10, 13, 17, 21])
def test_an_optimized_model_keeps_what_it_promised(bench, stage, opset):
    """Fewer nodes; same numbers, opset, names, symbolic dims, description and weight blobs."""
    model = bench.put(make(opset))
    before = summary.summarize(bench.store.path(model))

    slim = bench.apply(stage, model)

    after = summary.summarize(bench.store.path(slim))
    assert after["nodes"] < before["nodes"]
    for key in ("opset", "ir_version", "inputs", "outputs", "metadata", "doc", "producer"):
        assert after[key] == before[key], key
    assert slim.parts == model.parts
    np.testing.assert_allclose(
        bench.run(slim, batch())[0], bench.run(model, batch())[0], rtol=1e-4, atol=1e-5
    )
    bench.run(slim, batch(7))


def test_layers_are_still_named_after_onnxoptimizer(bench):
    """onnxoptimizer forgets where nodes come from; it is said again."""
    model = bench.put(make())

    slim = bench.apply(OnnxOptimizer(), model)

    nodes = list(load.read(bench.store.path(slim)).graph)
    assert "m.Net/4" in [node.metadata_props.get("namespace") for node in nodes]


def test_only_the_passes_asked_for_run(bench):
    """`passes` replaces the default."""
    model = bench.put(make())

    slim = bench.apply(OnnxOptimizer(passes=("eliminate_identity",)), model)

    operators = summary.summarize(bench.store.path(slim))["operators"]
    assert operators == {"Add": 1, "MatMul": 1, "Relu": 1}
    assert bench.notes["operators"] == {"Identity": -2}


def test_reshapes_that_copy_dimensions_are_not_merged(bench):
    """A pass of the default set breaks a pixel shuffle; it is left out there, and named."""
    proto = parser.parse_model(
        '<ir_version: 8, opset_import: ["" : 17]>'
        "g (float[batch, 8, 4] x) => (float[batch, 4, m] y)"
        "<int64[3] first = {0, 4, 8}, int64[3] second = {0, 0, -1}, int64[4] third = {0, 0, 4, 2}>"
        "{ a = Reshape(x, first)  b = Reshape(a, third)  y = Reshape(b, second) }"
    )
    model = bench.put(proto)
    x = {"x": np.arange(96, dtype=np.float32).reshape(3, 8, 4)}

    slim = bench.apply(OnnxOptimizer(), model)

    np.testing.assert_array_equal(bench.run(slim, x)[0], bench.run(model, x)[0])
    assert "eliminate_consecutive_idempotent_ops" in bench.notes["left_out"]


def test_a_pass_that_is_not_there_is_named(bench):
    """A typo in a pass is an error with the nearest name."""
    model = bench.put(make())

    with pytest.raises(StageError, match="fuse_bn_in_conv") as caught:
        bench.apply(OnnxOptimizer(passes=("fuse_bn_in_conv",)), model)

    assert "'fuse_bn_into_conv'" in caught.value.hint


def test_level_all_is_for_this_machine(bench):
    """`all` depends on the class of processor, and its key and notes say so; `basic` does not."""
    model = bench.put(make())

    bench.apply(OnnxRuntime(level="all"), model)
    bench.apply(OnnxRuntime(level="basic"), model)

    assert [step.machine for step in bench.steps] == [True, False]
    assert "processor" in bench.notes["machine"]


def test_a_provider_that_is_not_installed_is_named(bench):
    """An unknown execution provider is refused; onnxruntime would fall back in silence."""
    model = bench.put(make())

    with pytest.raises(StageError, match="CPUProvider") as caught:
        bench.apply(OnnxRuntime(providers=("CPUProvider",)), model)

    assert "CPUExecutionProvider" in caught.value.hint


def test_an_optimizer_can_be_left_out(bench):
    """`disabled_optimizers` reaches onnxruntime."""
    model = bench.put(make())

    slim = bench.apply(OnnxRuntime(disabled_optimizers=("EliminateIdentity",)), model)

    assert summary.summarize(bench.store.path(slim))["operators"]["Identity"] == 2


CODE = """
import onnx_ir as ir

def rename(model, suffix):
    for node in model.graph.node:
        node.name += suffix
    return model

def as_ir(model):
    return ir.from_proto(model)

def nothing(model):
    model.graph.node[0].name = "changed"

def lift(model):
    model.opset_import[0].version += 1
    return model

def broken(model):
    model.graph.node[0].op_type = "Identitty"
    return model
"""


@pytest.fixture
def code(tmp_path, monkeypatch):
    (tmp_path / "my_stage_code.py").write_text(CODE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    return "my_stage_code.py"


def test_a_users_function_rewrites_the_graph(bench, code):
    """The function gets the model and its options; weights it leaves alone keep their blobs."""
    model = bench.put(make())

    changed = bench.apply(Custom(function=f"{code}:rename", options={"suffix": "_x"}), model)

    proto = onnx.load(bench.store.path(changed), load_external_data=False)
    assert [node.name for node in proto.graph.node] == [f"layer{i}_x" for i in range(5)]
    assert changed.parts == model.parts


def test_a_users_function_may_return_an_ir_model(bench, code):
    """An onnx_ir.Model is as good as a protobuf one."""
    model = bench.put(make())

    assert bench.apply(Custom(function=f"{code}:as_ir"), model) == model


@pytest.mark.parametrize(
    ("name", "message"),
    [
        pytest.param("nothing", "returned nothing, not a model", id="nothing"),
        pytest.param("lift", "changed the opset from 17 to 18", id="opset"),
        pytest.param("broken", "Identitty", id="invalid"),
    ],
)
def test_what_a_users_function_gives_is_checked(bench, code, name, message):
    """No model, another opset or an invalid graph fails the stage and names the function."""
    model = bench.put(make())

    with pytest.raises(StageError, match=message) as caught:
        bench.apply(Custom(function=f"{code}:{name}"), model)

    assert code in str(caught.value)


def test_a_function_that_is_not_there_is_named(bench, code):
    """A typo in the function's name gets the nearest."""
    model = bench.put(make())

    with pytest.raises(StepError) as caught:
        bench.apply(Custom(function=f"{code}:renam"), model)

    assert "rename" in caught.value.hint


def test_a_function_local_to_the_model_survives(bench):
    """onnxoptimizer loses local functions; they are put in place of their calls."""
    model = make()
    function = helper.make_function(
        "local", "Twice", ["a"], ["c"], [helper.make_node("Add", ["a", "a"], ["c"])],
        [helper.make_opsetid("", 17)],
    )  # fmt: skip
    model.functions.append(function)
    model.opset_import.append(helper.make_opsetid("local", 1))
    model.graph.node[-1].op_type, model.graph.node[-1].domain = "Twice", "local"
    artifact = bench.put(model)
    expected = bench.run(artifact, batch())[0]

    slim = bench.apply(OnnxOptimizer(), artifact)

    np.testing.assert_allclose(bench.run(slim, batch())[0], expected, rtol=1e-4, atol=1e-5)
