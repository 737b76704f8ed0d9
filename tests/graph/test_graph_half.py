"""What is known of half precision before and after a conversion: ports, ranges, and a model that rounds."""

import math

import ml_dtypes
import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper, numpy_helper, parser

from onnxbuild.errors import ModelError
from onnxbuild.graph.emulate import emulate, half_type, needs_emulation, typed
from onnxbuild.graph.load import read
from onnxbuild.graph.ports import find_ports
from onnxbuild.graph.ranges import find_rounded, observe
from onnxbuild.graph.save import put
from onnxbuild.steps.running import Runner
from onnxbuild.stores.local import LocalStore

GRAPH = '<ir_version: 9, opset_import: ["" : 18, "com.microsoft" : 1]> g (KIND[n, 4] x) => (KIND[n, 4] y) BODY'


@pytest.fixture
def keep(tmp_path):
    store = LocalStore(str(tmp_path / "store"))

    def make(body, kind="float", **weights):
        text = GRAPH.replace("KIND", kind).replace("BODY", "{ " + body + " }")
        model = parser.parse_model(text)
        for name, given in weights.items():
            array = np.asarray(given)
            if array.dtype == ml_dtypes.bfloat16:
                made = helper.make_tensor(
                    name, TensorProto.BFLOAT16, array.shape, array.tobytes(), raw=True
                )
            else:
                made = numpy_helper.from_array(array, name)
            model.graph.initializer.append(made)
        return store.path(put(model, store))

    yield make
    store.close()


def node(op_type, domain="", inputs=1):
    values = [ir.Value(name=f"v{i}") for i in range(inputs)]
    return ir.Node(domain, op_type, values)


@pytest.mark.parametrize(
    ("op_type", "domain", "opset", "takes"),
    [
        pytest.param("Resize", "", 18, [True, True, False], id="scales of Resize"),
        pytest.param("Range", "", 18, [False, False, False], id="Range"),
        pytest.param("Concat", "", 18, [True, True, True], id="variadic"),
        pytest.param(
            "SkipLayerNormalization", "com.microsoft", 18, [True, True, True], id="of onnxruntime"
        ),
        pytest.param("Celu", "", 12, [False], id="by opset"),
    ],
)
def test_ports_are_what_schemas_say(op_type, domain, opset, takes):
    """Of the model's opset, and of domains that onnx does not know."""
    ports = find_ports(node(op_type, domain), {"": opset, "com.microsoft": 1})

    assert [ports.input(i).takes(ir.DataType.FLOAT16) for i in range(len(takes))] == takes


def test_an_unknown_operator_has_no_ports():
    """Nothing is made up."""
    assert find_ports(node("NoSuch", "theirs"), {"theirs": 1}) is None


def test_types_of_other_domains_are_inferred(keep):
    """What onnx does not know has the type that its schema gives it."""
    path = keep(
        "a = com.microsoft.QuickGelu(x)  y = com.microsoft.FusedMatMul(a, w)",
        w=np.eye(4, dtype=np.float32),
    )

    model = typed(path, "")

    assert [value.dtype for n in model.graph for value in n.outputs] == [ir.DataType.FLOAT] * 2


def test_ranges_are_found(keep):
    """Of all samples together; what stands for infinity apart; zeros are not the smallest; emptiness is fine."""
    path = keep(
        "a = Mul(x, k)  y = Add(a, mask)", k=np.float32(2), mask=np.float32([0, 0, 0, -1e31])
    )
    items = [
        {"x": np.float32([[1, 0, 3, 4]])},
        {"x": np.float32([[-9, 0.25, 3, 4]])},
        {"x": np.zeros((0, 4), "f")},
    ]

    found = observe(path, ["a", "y"], {"a"}, items)

    assert (found["a"].low, found["a"].high, found["a"].smallest) == (-18, 8, 0.5)
    assert found["a"].size == 18
    assert (found["y"].low, found["y"].high, found["y"].smallest) == (-18, 6, math.inf)
    assert found["y"].least == np.float32(-1e31)


def test_whole_numbers_that_are_rounded_are_found(keep):
    """4096 is held, 4097 is not; with fractions beside it, nobody counts."""
    path = keep(
        "a = Mul(x, one)  b = Mul(x, half)  y = Add(a, b)", one=np.float32(1), half=np.float32(0.5)
    )
    names = ["a", "b"]

    assert (
        find_rounded(path, names, TensorProto.FLOAT16, [{"x": np.float32([[4096, 2, 3, 4]])}])
        == set()
    )
    assert find_rounded(
        path, names, TensorProto.FLOAT16, [{"x": np.float32([[4097, 2, 3, 4]])}]
    ) == {"a"}
    assert find_rounded(
        path, names, TensorProto.BFLOAT16, [{"x": np.float32([[258, 2, 3, 257]])}]
    ) == {"a"}


def test_a_model_that_does_not_run_says_so(keep):
    """In onnxruntime's words."""
    path = keep("y = MatMul(x, w)", w=np.eye(4, dtype=np.float32))

    with pytest.raises(ModelError, match="it does not run"):
        observe(path, ["y"], (), [{"x": np.zeros((1, 3), np.float32)}])


@pytest.mark.parametrize(
    ("kind", "dtype"),
    [
        pytest.param("float16", np.float16, id="half"),
        pytest.param("bfloat16", ml_dtypes.bfloat16, id="bfloat16"),
    ],
)
def test_a_model_is_emulated(keep, kind, dtype):
    """Each result is what numpy rounds it to; inputs and outputs are float32, under their names."""
    w = (np.random.default_rng(0).standard_normal((4, 4))).astype(dtype)
    path = keep("a = Mul(x, x)  b = MatMul(a, w)  y = Add(b, x)", kind, w=w)
    x = np.float32([[0.1, 1.7, 30.3, 50]])

    proto = emulate(path, "")
    onnx.checker.check_model(proto)
    found = Runner(proto.SerializeToString()).run({"x": x}, "it")["y"]

    def rounded(array):
        return array.astype(dtype).astype(np.float32)

    a = rounded(rounded(x) * rounded(x))
    expected = rounded(rounded(a @ w.astype(np.float32)) + rounded(x))
    np.testing.assert_array_equal(found, expected)
    assert half_type(read(path)) == (
        ir.DataType.FLOAT16 if kind == "float16" else ir.DataType.BFLOAT16
    )
    assert needs_emulation(onnx.load(path)) == (kind == "bfloat16")


def test_an_overflow_shows(keep):
    """Which the CPU provider would hide between two nodes."""
    path = keep("a = Mul(x, k)  y = Div(a, k)", "float16", k=np.float16(1000))

    found = Runner(emulate(path, "").SerializeToString()).run(
        {"x": np.float32([[1, 2, 3, 100]])}, "it"
    )["y"]

    assert np.isinf(found[0, 3])
    np.testing.assert_array_equal(found[0, :3], [1, 2, 3])


def test_control_flow_and_sequences_are_emulated(keep):
    """Types inside branches and of sequences change along."""
    body = (
        "s = SequenceConstruct(x, x)  a = SequenceAt(s, i)  r = ReduceSum<keepdims = 0>(a)  c = Greater(r, z)"
        "  y = If(c) <then_branch = t () => (float16[n, 4] p) { p = Mul(a, k) },"
        " else_branch = e () => (float16[n, 4] q) { q = Add(a, k) }>"
    )
    path = keep(body, "float16", i=np.array(0), z=np.float16(0), k=np.float16(3))
    runner = Runner(emulate(path, "").SerializeToString())

    for x, expected in ((1, 3), (-1, 2)):
        found = runner.run({"x": np.full((1, 4), x, np.float32)}, "it")["y"]
        np.testing.assert_array_equal(found, np.full((1, 4), expected))
