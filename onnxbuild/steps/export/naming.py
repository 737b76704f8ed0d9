"""Names of nodes that say where in the model they come from: ``encoder.layers.3.linear1/MatMul``.

dynamo numbers its nodes and keeps the module in their metadata, which other libraries drop. TorchScript has
the scopes of its trace in the names. Here both get one form: the path of the torch module, a slash, the
operator, and a number where that is there already. A node of no module has no path.
"""

from __future__ import annotations

import ast
from collections.abc import Collection

import onnx_ir as ir

from onnxbuild.graph.load import model_nodes
from onnxbuild.graph.select import module_of

SCOPES = "pkg.torch.onnx.name_scopes"
"""Under this key dynamo keeps the paths of the modules around a node, the innermost before the last."""


def name_nodes(model: ir.Model, modules: Collection[str]) -> None:
    """Name every node after the one of `modules`, paths as ``named_modules`` gives them, that it comes from.

    Called again, it names what came since and keeps the rest, but for the numbers.
    """
    taken: dict[str, int] = {}
    for node in model_nodes(model):
        path = module_of(node.name or "")
        if path not in modules:
            path = _of_scopes(node, modules) or _of_name(node.name or "", modules)
        base = f"{path}/{node.op_type}" if path else node.op_type
        number = taken[base] = taken.get(base, 0) + 1
        node.name = base if number == 1 else f"{base}_{number}"


def _of_scopes(node: ir.Node, modules: Collection[str]) -> str:
    try:
        scopes = ast.literal_eval(node.metadata_props.get(SCOPES, "[]"))
    except (SyntaxError, ValueError):
        return ""
    known = [scope for scope in scopes if scope in modules] if isinstance(scopes, list) else []
    return str(known[-1]) if known else ""


def _of_name(name: str, modules: Collection[str]) -> str:
    """Read the scopes of a trace: ``/encoder/encoder.0/attn/MatMul`` is in ``encoder.0.attn``.

    A scope has the name of the module in its parent; that of a child of a container has the container's too,
    whether that was called itself or not.
    """
    path = ""
    for scope in name.split("/")[1:-1]:
        parent = path.rpartition(".")[0]
        inside = f"{path}.{scope}" if path else scope
        beside = f"{parent}.{scope}" if parent else scope
        if inside in modules:
            path = inside
        elif beside in modules:
            path = beside
    return path
