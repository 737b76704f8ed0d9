"""Take out of a graph what tells of the machine, the time or the user, and keep what helps debugging.

A plain export writes the stack trace of every node, with absolute paths and source lines, so that
the bytes depend on the folder of the checkout. Names of layers stay.
"""

from __future__ import annotations

import re
from collections.abc import MutableMapping

import onnx_ir as ir

from onnxbuild.graph.load import model_graphs, model_nodes

KEPT = frozenset({"namespace", "pkg.torch.onnx.name_scopes"})
"""Metadata of exporters that say which layer a node comes from."""

EXPORTERS = ("pkg.", "onnx.infer")
"""Beginnings of the keys under which exporters and quantizers keep notes for themselves."""

TRACE = re.compile(r'File ".*", line \d+|(?<![\w:/.\]])/(?:[\w.@+-]+/)+[\w.@+-]+\.\w+')
"""A frame of a stack trace, or an absolute path of a file."""


def clean(model: ir.Model) -> None:
    """Clean `model` in place. Its own doc string and metadata stay, but for exporters' notes."""
    _clean_notes(model.metadata_props, trusted=True)
    for graph in model_graphs(model):
        _clean_notes(graph.metadata_props)
        graph.doc_string = _clean_text(graph.doc_string)
        for value in (*graph.inputs, *graph.outputs, *graph.initializers.values()):
            _clean_value(value)
    for function in model.functions.values():
        _clean_notes(function.metadata_props)
        function.doc_string = _clean_text(function.doc_string)
        for value in function.inputs:
            _clean_value(value)
    for node in model_nodes(model):
        node.doc_string = None
        _clean_notes(node.metadata_props)
        for value in node.outputs:
            _clean_value(value)


def _clean_value(value: ir.Value) -> None:
    value.doc_string = _clean_text(value.doc_string)
    _clean_notes(value.metadata_props)


def _clean_notes(notes: MutableMapping[str, str], *, trusted: bool = False) -> None:
    for key in list(notes):
        if key in KEPT and not TRACE.search(notes[key]):
            continue
        if (
            not notes[key]
            or key.startswith(EXPORTERS)
            or (TRACE.search(notes[key]) and not trusted)
        ):
            del notes[key]


def _clean_text(text: str | None) -> str | None:
    return None if not text or TRACE.search(text) else text
