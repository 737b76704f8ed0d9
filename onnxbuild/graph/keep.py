"""Hold a stage to its word: the opset, names, types and symbolic dimensions of a model stay.

Libraries raise the opset, rename what they touch or forget the names of dimensions, without a word.
"""

from __future__ import annotations

from collections.abc import Collection

import onnx_ir as ir

from onnxbuild.errors import StageError
from onnxbuild.graph.load import model_nodes
from onnxbuild.graph.summary import dims, own_inputs


def keep(before: ir.Model, after: ir.Model, *, library: str, retyped: Collection[str] = ()) -> None:
    """Give `after` the description of `before` where the library lost it, and check the rest.

    Restores the producer, doc string, metadata and dimension names. Raises `StageError` where the
    opset, an input or an output is another than before; those in `retyped` may change their dtype.
    """
    after.producer_name = before.producer_name
    after.producer_version = before.producer_version
    after.domain = before.domain
    after.model_version = before.model_version
    after.doc_string = before.doc_string
    after.metadata_props.clear()
    after.metadata_props.update(before.metadata_props)
    after.graph.name = before.graph.name
    _keep_layers(before, after)
    _drop_unused_domains(before, after)
    opset, kept = before.opset_imports.get(""), after.opset_imports.get("")
    if opset != kept:
        raise StageError(
            f"{library} changed the opset from {opset} to {kept}",
            hint=f"ask for it from the start (export.opset: {kept}), or use another stage",
        )
    _keep_values("input", own_inputs(before), own_inputs(after), library, retyped)
    _keep_values("output", list(before.graph.outputs), list(after.graph.outputs), library, retyped)


def _keep_layers(before: ir.Model, after: ir.Model) -> None:
    """Say again which layer a node comes from, where a node still makes the same value."""
    layers = {
        node.outputs[0].name: node.metadata_props
        for node in model_nodes(before)
        if node.outputs and node.metadata_props
    }
    for node in model_nodes(after):
        if node.outputs and not node.metadata_props:
            node.metadata_props.update(layers.get(node.outputs[0].name, {}))


def _drop_unused_domains(before: ir.Model, after: ir.Model) -> None:
    """Forget the operator sets that onnxruntime lists in whatever it writes."""
    used = {node.domain for node in model_nodes(after)} | {"", *before.opset_imports}
    for domain in set(after.opset_imports) - used:
        del after.opset_imports[domain]


def _keep_values(
    kind: str,
    before: list[ir.Value],
    after: list[ir.Value],
    library: str,
    retyped: Collection[str],
) -> None:
    names, kept = [value.name for value in before], [value.name for value in after]
    if names != kept:
        raise StageError(
            f"{library} changed the {kind}s from {names} to {kept}",
            hint="a model's interface must stay; use another stage",
        )
    for old, new in zip(before, after, strict=True):
        if old.dtype != new.dtype and old.name not in retyped:
            raise StageError(
                f"{library} changed the {kind} {old.name!r} from {old.dtype} to {new.dtype}"
            )
        if new.shape is not None and old.shape is not None and len(new.shape) != len(old.shape):
            raise StageError(
                f"{library} changed the {kind} {old.name!r} from {dims(old)} to {dims(new)}"
            )
        new.shape = old.shape
