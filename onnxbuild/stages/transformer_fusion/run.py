"""Fuse with onnxruntime's patterns for transformers, and keep what gives the same numbers."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import onnx_ir as ir
from onnxruntime.transformers.optimizer import optimize_model

from onnxbuild.core.artifact import Artifact
from onnxbuild.core.ports import Work
from onnxbuild.core.values import build
from onnxbuild.errors import StageError
from onnxbuild.graph import sessions, types
from onnxbuild.graph.finish import finish
from onnxbuild.graph.load import from_proto, model_nodes, read, scratch_copy, store_root
from onnxbuild.graph.sparing.measuring import Reference, named_items, quick
from onnxbuild.graph.sparing.spec import Target
from onnxbuild.graph.weights import reuse
from onnxbuild.stages.transformer_fusion.spec import TransformerFusion

LIBRARY = "onnxruntime's transformer optimizer"

KINDS = ("bert", "gpt2", "bart", "t5", "vit", "clip")
"""Kinds whose patterns are tried, until two give no more than the best before them."""

SAME = Target(cosine=0.99999, scaled=1e-3)
"""How near a fused model must be: sums in another order, and no more."""

DOMAIN = "com.microsoft"
ATTENTION = 10
"""How many other fusions one of an attention is worth."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Fused:
    kind: str
    model: ir.Model
    operators: Mapping[str, int]

    @property
    def worth(self) -> int:
        return sum(
            count * (ATTENTION if "Attention" in name else 1)
            for name, count in self.operators.items()
        )


def fuse(work: Work) -> dict[str, Artifact]:
    """Fuse; says in the notes as what, and how many of each operator came of it."""
    options = build(TransformerFusion, work.options)
    before = read(work.input("model"))
    kinds = (options.model_type,) if options.model_type else KINDS
    reasons: dict[str, str] = {}
    found = []
    for kind in kinds:
        with scratch_copy(work) as path:
            fused = _fuse(path, kind, options, work, before, reasons)
        if fused is not None:
            found.append(fused)
    reference: Reference | None = None
    for fused in sorted(found, key=lambda one: -one.worth):
        if "samples" in work.inputs() and reference is None:
            items = quick(named_items(work))
            session = sessions.load(work.input("model"), made_by="the stage before")
            reference = Reference.of(session, items)
        try:
            artifact = finish(work, before, fused.model, library=LIBRARY)
            loss = _loss(work, artifact, reference)
        except StageError as error:
            reasons[fused.kind] = error.what
            continue
        if loss > 1:
            reasons[fused.kind] = "gives other numbers"
            continue
        work.notes["model_type"] = fused.kind
        work.notes["fused"] = dict(fused.operators)
        work.notes["left_out"] = reasons
        return {"model": artifact}
    told = "; ".join(f"{kind}: {reason}" for kind, reason in reasons.items())
    raise StageError(
        f"nothing could be fused ({told})",
        hint="leave the stage out; `onnxruntime` with `level: extended` fuses what it knows",
    )


def _loss(work: Work, artifact: Artifact, reference: Reference | None) -> float:
    if reference is None:
        return 0.0
    session = sessions.load(work.store.path(artifact), made_by=LIBRARY)
    return reference.measure(session).loss(SAME)


def _fuse(
    path: str,
    kind: str,
    options: TransformerFusion,
    work: Work,
    before: ir.Model,
    reasons: dict[str, str],
) -> _Fused | None:
    folder = os.getcwd()
    try:
        # It writes files of its own where it gives up on shapes.
        os.chdir(work.folder)
        made: Any = optimize_model(
            path,
            model_type=kind,
            num_heads=options.num_heads,
            hidden_size=options.hidden_size,
            opt_level=0,
        )
    except Exception as error:  # noqa: BLE001 - it raises whatever it stumbles over
        reasons[kind] = sessions.readable(error)
        return None
    finally:
        os.chdir(folder)
    after = from_proto(made.model, store_root(work.store))
    types.import_domains(after)
    reuse(before, after)
    operators = _new_operators(before, after)
    if not operators:
        reasons[kind] = "fuses nothing"
        return None
    return _Fused(kind=kind, model=after, operators=operators)


def _new_operators(before: ir.Model, after: ir.Model) -> dict[str, int]:
    def count(model: ir.Model) -> Counter[str]:
        return Counter(
            node.op_type
            for node in model_nodes(model)
            if node.domain == DOMAIN or "Normalization" in node.op_type
        )

    return dict(sorted((count(after) - count(before)).items()))
