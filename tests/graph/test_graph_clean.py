"""What a graph may tell of the machine that made it."""

import onnx_ir as ir

from onnxbuild.graph.clean import clean


def noted(make_model, **notes):
    proto = make_model(metadata={"author": "someone", "link": "https://example.org/a/b.html"})
    for key, value in notes.items():
        proto.graph.node[0].metadata_props.add(key=key.replace("__", "."), value=value)
    return ir.from_proto(proto)


def test_names_of_layers_stay(make_model):
    """Where a node comes from in the module tree helps debugging."""
    model = noted(
        make_model, namespace="m.Net/fc: Linear", pkg__torch__onnx__name_scopes="['', 'fc']"
    )

    clean(model)

    assert dict(model.graph[0].metadata_props) == {
        "namespace": "m.Net/fc: Linear",
        "pkg.torch.onnx.name_scopes": "['', 'fc']",
    }


def test_traces_paths_and_doc_strings_go(make_model):
    """Stack traces, exporters' notes, absolute paths and empty entries are removed."""
    model = noted(
        make_model,
        pkg__torch__onnx__stack_trace='File "/home/someone/m.py", line 5, in forward',
        pkg__torch__onnx__fx_node="%relu : [num_users=1]",
        origin="/home/someone/project/model.py",
        empty="",
        note="kept",
    )

    clean(model)

    assert dict(model.graph[0].metadata_props) == {"note": "kept"}
    assert model.graph[0].doc_string is None


def test_the_models_own_metadata_stay(make_model):
    """What the recipe writes about the model itself is the user's word."""
    model = noted(make_model)
    model.doc_string = "Digits, see /data/digits/readme.md"

    clean(model)

    assert dict(model.metadata_props) == {
        "author": "someone",
        "link": "https://example.org/a/b.html",
    }
    assert model.doc_string == "Digits, see /data/digits/readme.md"


def test_node_names_that_look_like_paths_stay(make_model):
    """TorchScript names nodes like paths: names are no metadata."""
    model = noted(make_model)
    model.graph[0].name = "/encoder/layer.0/MatMul"

    clean(model)

    assert model.graph[0].name == "/encoder/layer.0/MatMul"
