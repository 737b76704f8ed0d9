"""One model cut into several that run one after the other."""

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from onnxbuild.core.step import Output
from onnxbuild.errors import StageError
from onnxbuild.graph import summary
from onnxbuild.stages.split.spec import Split
from tests.stages.networks import convolutional, ids, images, transformer


def cut(bench, stage, model):
    """Give the parts of a model, in order, and what the notes say of them."""
    parts = list(bench.files(stage, model).values())
    return parts, bench.notes["parts"]


def chain(bench, parts, inputs):
    values = dict(inputs)
    for part in parts:
        described = summary.summarize(bench.store.path(part))
        given = {item["name"]: values[item["name"]] for item in described["inputs"]}
        names = [item["name"] for item in described["outputs"]]
        values |= zip(names, bench.run(part, given), strict=True)
    return values


@pytest.mark.parametrize("count", [2, 3, 4])
@pytest.mark.parametrize(
    ("model", "feed"),
    [
        pytest.param(transformer, ids, id="transformer"),
        pytest.param(convolutional, images, id="convolutional"),
    ],
)
def test_parts_by_size_give_what_the_model_gives(bench, model, feed, count):
    """At other sizes than one too; each weight is in one part, and no part is empty."""
    whole = bench.put(model())

    parts, told = cut(bench, Split(parts=count), whole)

    assert len(parts) == count
    assert all(item["nodes"] for item in told)
    for batch in (2, 5):
        made = chain(bench, parts, feed(batch))
        np.testing.assert_array_equal(made["y"], bench.run(whole, feed(batch))[0])
    known = summary.summarize(bench.store.path(whole))["weights"]["tensors"]
    split = [summary.summarize(bench.store.path(part))["weights"]["tensors"] for part in parts]
    # Only the shared normalization is needed twice.
    assert known <= sum(split) <= known + 2 * (count - 1)


def test_two_parts_hold_about_half_of_the_weights_each(bench):
    """And few values pass: of this transformer the residual, and what is added to it."""
    _, told = cut(bench, Split(), bench.put(transformer()))

    sizes = [item["bytes"] for item in told]
    assert max(sizes) < 0.75 * sum(sizes)
    assert len(told[1]["inputs"]) <= 2


def test_a_part_ends_where_the_recipe_says(bench):
    """After a module or a value; what it depends on is before it, the rest after it."""
    whole = bench.put(transformer())

    parts, told = cut(bench, Split(at=("layer.p", "r")), whole)

    assert [item["file"] for item in told] == ["part-1.onnx", "part-2.onnx", "part-3.onnx"]
    assert "p" in [value["name"] for value in told[0]["outputs"]]
    assert [value["name"] for value in told[1]["outputs"]] == ["r"]
    assert [value["name"] for value in told[2]["inputs"]] == ["r"]
    np.testing.assert_array_equal(chain(bench, parts, ids())["y"], bench.run(whole, ids())[0])


@pytest.mark.parametrize(
    ("at", "words"),
    [
        pytest.param(("layer.q9",), "no value and no module", id="unknown"),
        pytest.param(("r", "p"), "nothing is left", id="order"),
        pytest.param(("y",), "nothing follows", id="end"),
    ],
)
def test_an_end_that_cannot_be_is_explained(bench, at, words):
    """With the option that says it."""
    with pytest.raises(StageError, match=words) as caught:
        cut(bench, Split(at=at), bench.put(transformer()))

    assert str(caught.value).startswith("at:")


def test_what_is_no_tensor_is_not_handed_on(bench):
    """A sequence of tensors stays inside a part: asked for, it is refused, by size it is avoided."""
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["a"], name="a"),
        helper.make_node("SequenceConstruct", ["a", "x"], ["s"], name="s"),
        helper.make_node("ConcatFromSequence", ["s"], ["c"], axis=0, name="c"),
        helper.make_node("MatMul", ["c", "v"], ["y"], name="y"),
    ]
    generator = np.random.default_rng(0)
    held = [
        numpy_helper.from_array(generator.standard_normal((8, 8)).astype(np.float32), name)
        for name in "wv"
    ]
    infos = [helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, ["n", 8]) for n in "xy"]
    infos[1].type.tensor_type.shape.dim[0].dim_param = "m"
    graph = helper.make_graph(nodes, "g", infos[:1], infos[1:], held)
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    whole = bench.put(proto)
    x = {"x": generator.standard_normal((3, 8)).astype(np.float32)}

    parts, _ = cut(bench, Split(), whole)

    np.testing.assert_array_equal(chain(bench, parts, x)["y"], bench.run(whole, x)[0])
    with pytest.raises(StageError, match="no plain tensor"):
        cut(bench, Split(at=("s",)), whole)


def test_branches_constants_and_outputs_in_the_middle(bench):
    """What a branch takes from outside is handed on, a constant is in each part that needs it, an early output stays."""
    taken = helper.make_graph(
        [helper.make_node("Mul", ["early", "two"], ["t"])],
        "then", [], [helper.make_tensor_value_info("t", 1, ["n", 8])],
    )  # fmt: skip
    other = helper.make_graph(
        [helper.make_node("Identity", ["late"], ["o"])],
        "else", [], [helper.make_tensor_value_info("o", 1, ["n", 8])],
    )  # fmt: skip
    two = numpy_helper.from_array(np.array(2, dtype=np.float32))
    nodes = [
        helper.make_node("Constant", [], ["two"], value=two),
        helper.make_node("Mul", ["x", "two"], ["early"], name="m/early"),
        helper.make_node("Add", ["early", "x"], ["late"], name="m/late"),
        helper.make_node("If", ["flag"], ["y"], then_branch=taken, else_branch=other, name="n/if"),
    ]
    inputs = [
        helper.make_tensor_value_info("x", 1, ["n", 8]),
        helper.make_tensor_value_info("flag", 9, []),
        helper.make_tensor_value_info("unused", 1, [1]),
    ]
    outputs = [helper.make_tensor_value_info(name, 1, ["n", 8]) for name in ("early", "y")]
    graph = helper.make_graph(nodes, "g", inputs, outputs)
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    whole = bench.put(proto)

    parts, told = cut(bench, Split(at=("m",)), whole)

    for flag in (True, False):
        feed = {
            "x": np.ones((2, 8), np.float32),
            "flag": np.array(flag),
            "unused": np.ones(1, np.float32),
        }
        made = chain(bench, parts, feed)
        for name, expected in zip(("early", "y"), bench.run(whole, feed), strict=True):
            np.testing.assert_array_equal(made[name], expected)
    assert [value["name"] for value in told[0]["outputs"]] == ["early", "late"]
    assert "unused" in [value["name"] for value in told[0]["inputs"]]


def test_parts_are_published_in_place_of_the_model():
    """Under the names that build.json lists."""
    stage = Split(parts=3)
    step = stage.apply(Output(None), type("Context", (), {"name": "it"})).step

    files = stage.files(Output(step))

    assert list(files) == ["part-1.onnx", "part-2.onnx", "part-3.onnx"]
    assert {output.name for output in files.values()} < set(step.outputs)
    assert Split(parts=2, at=("a",)).contradicts()
    assert not Split(at=("a",)).contradicts()
