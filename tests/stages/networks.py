"""Small networks as graphs, with weights whose numbers quantization can lose."""

import numpy as np
import onnx
from onnx import numpy_helper, parser

TRANSFORMER = """
<ir_version: 8, opset_import: ["" : OPSET]>
g (int64[batch, sequence] ids) => (float[batch, sequence, 48] y)
{
    x = Gather<axis=0>(table, ids)
    n1 = LayerNormalization<axis=-1>(x, gamma, beta)
    q = MatMul(n1, wq)
    k = MatMul(n1, wk)
    v = MatMul(n1, wv)
    kt = Transpose<perm=[0, 2, 1]>(k)
    s = MatMul(q, kt)
    p = Softmax<axis=-1>(s)
    c = MatMul(p, v)
    o = MatMul(c, wo)
    r = Add(x, o)
    n2 = LayerNormalization<axis=-1>(r, gamma, beta)
    f = MatMul(n2, w1)
    h = Relu(f)
    d = MatMul(h, w2)
    y = Add(r, d)
}
"""

SHAPES = {
    "table": (100, 48), "gamma": (48,), "beta": (48,), "wq": (48, 48), "wk": (48, 48), "wv": (48, 48),
    "wo": (48, 48), "w1": (48, 96), "w2": (96, 48),
}  # fmt: skip


def transformer(opset=17, *, outlier=1.0):
    """A layer of a transformer; one of its activations is as many times as large as the others as `outlier` says."""
    model = parser.parse_model(TRANSFORMER.replace("OPSET", str(opset)))
    generator = np.random.default_rng(0)
    for name, shape in SHAPES.items():
        array = generator.standard_normal(shape).astype(np.float32) / 6
        if name == "gamma":
            array = np.ones(shape, dtype=np.float32)
        if name == "w1":
            array[:, 5] *= outlier
        if name == "w2":
            array[5] /= outlier
        if name == "table":
            # Rare words are small beside frequent ones.
            array *= np.logspace(-3, 1, 100, dtype=np.float32)[:, None]
        model.graph.initializer.append(numpy_helper.from_array(array, name))
    for node in model.graph.node:
        node.name = f"layer.{node.output[0]}/{node.op_type}"
    onnx.checker.check_model(model)
    return model


def ids(batch=2, sequence=5, seed=0):
    """Inputs for it."""
    return {"ids": np.random.default_rng(seed).integers(0, 100, (batch, sequence))}


CONVOLUTIONAL = """
<ir_version: 8, opset_import: ["" : OPSET]>
g (float[batch, 1, 8, 8] x) => (float[batch, 10] y)
{
    c1 = Conv<kernel_shape=[3, 3]>(x, w1, b1)
    r1 = Relu(c1)
    c2 = Conv<kernel_shape=[3, 3]>(r1, w2)
    r2 = Relu(c2)
    flat = Flatten(r2)
    y = MatMul(flat, w3)
}
"""


def convolutional(opset=17):
    """Two convolutions and a product."""
    model = parser.parse_model(CONVOLUTIONAL.replace("OPSET", str(opset)))
    generator = np.random.default_rng(0)
    shapes = {"w1": (16, 1, 3, 3), "b1": (16,), "w2": (32, 16, 3, 3), "w3": (512, 10)}
    for name, shape in shapes.items():
        array = generator.standard_normal(shape).astype(np.float32) / 4
        model.graph.initializer.append(numpy_helper.from_array(array, name))
    for index, node in enumerate(model.graph.node):
        node.name = f"layer{index}"
    onnx.checker.check_model(model)
    return model


def images(batch=2, seed=0):
    """Inputs for it."""
    return {"x": np.random.default_rng(seed).standard_normal((batch, 1, 8, 8)).astype(np.float32)}
