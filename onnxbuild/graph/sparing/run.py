"""Rank nodes by what each loses when it is quantized, and search how many of the worst to leave out."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from glob import escape
from importlib import import_module
from typing import Any

import onnxruntime as ort
from onnxruntime.quantization.registry import IntegerOpsRegistry, QDQRegistry, QLinearOpsRegistry

from onnxbuild.core.artifact import Artifact, Kind
from onnxbuild.core.machine import saturates
from onnxbuild.core.ports import ContentStore, MoreSteps, Work
from onnxbuild.core.step import OWN, Output, Resources, Step
from onnxbuild.core.values import build, plain
from onnxbuild.errors import StageError
from onnxbuild.graph import sessions
from onnxbuild.graph.architecture import chosen, dynamic_operators, find_kind, static_operators
from onnxbuild.graph.leaving import find_left, find_scoring
from onnxbuild.graph.load import read, scratch_copy
from onnxbuild.graph.select import select_names
from onnxbuild.graph.sparing.measuring import Measured, Reference, named_items, quick
from onnxbuild.graph.sparing.ranking import Ranking
from onnxbuild.graph.sparing.simulating import candidates, simulate
from onnxbuild.graph.sparing.spec import AttemptOptions, RankOptions, SearchOptions

FLOAT = "nodes_to_exclude"
"""The option that leaves nodes as they are, weights and all."""

HOPELESS = 2.0
"""The share of the target from which it is no use to leave out more in the same way."""

MOST_ATTEMPTS = 8
"""Quantizations that a search tries: enough to bisect what a prediction has narrowed down."""


def rank(work: Work) -> dict[str, Artifact]:
    """Give the ``ranking``: nodes by the share of the target that each uses up alone, the worst first."""
    options = build(RankOptions, work.options)
    until = time.monotonic() + options.seconds
    model = read(work.input("model"))
    is_static = "ranges" in work.inputs()
    ranges = _ranges(work) if is_static else None
    known = {*QLinearOpsRegistry, *QDQRegistry} if is_static else {*IntegerOpsRegistry, "Gemm"}
    kind = find_kind(model)
    usual = static_operators(kind, known) if is_static else dynamic_operators(kind, known)
    op_types = chosen(options.op_types, usual, known)
    excluded = select_names(model, options.nodes_to_exclude, option="nodes_to_exclude")
    only = select_names(model, options.nodes_to_quantize, option="nodes_to_quantize")
    left = (
        find_scoring(model, only)
        if options.op_types
        else find_left(model, kind, op_types, static=is_static, named=only)
    )
    nodes = candidates(model, op_types, static=is_static, excluded=left.names.union(excluded))
    names = [node.name or "" for node in nodes]
    if only:
        names = [name for name in names if name in only]
    reduce_range = saturates() if options.reduce_range is None else options.reduce_range
    with scratch_copy(work) as path:
        reference = Reference.of(_quick(path), quick(named_items(work)))
        if reference.is_empty:
            raise StageError(
                "mode auto: the model gives no floating numbers by which to tell what a node loses",
                hint="use mode: all, or have it give its scores beside what it makes of them",
            )
        target = path.removesuffix(".onnx") + "-simulated.onnx"

        def loss(group: list[str]) -> float:
            simulate(path, group, model, target, ranges=ranges, reduce_range=reduce_range)
            return reference.measure(_quick(target)).loss(options.target)

        ranking = Ranking.find(
            names, loss, is_over=lambda: time.monotonic() > until, residue=options.residue
        )
    work.notes["nodes"] = len(names)
    work.notes["measured_alone"] = ranking.alone
    if ranking.alone < len(names):
        work.notes["budget"] = "used up before each node was measured alone"
    return {"ranking": work.put_json(ranking.plain())}


def attempt(work: Work) -> dict[str, Artifact]:
    """Quantize as the options say; give the ``model``, and how it was ``measured``."""
    options = build(AttemptOptions, work.options)
    start = time.monotonic()
    module, _, name = options.run.partition(":")
    quantize = getattr(import_module(module), name)
    made: Artifact = quantize(_Within(work, options.options))["model"]
    measured = _measure(work, made)
    told = {
        **measured.plain(),
        "seconds": measured.seconds,
        "broken": measured.broken,
        "bytes": made.size,
        "took": time.monotonic() - start,
        "notes": plain(work.notes),
    }
    return {"model": made, "measured": work.put_json(told)}


def search(work: Work) -> dict[str, Artifact] | MoreSteps:
    """Give the model with the fewest nodes left out that meets the target, or the next attempt."""
    options = build(SearchOptions, work.options)
    ranking = Ranking.from_plain(work.json("ranking"))
    results = {count: work.json(f"measured_{count}") for count in options.tried}
    met = {count: _loss(told, options) <= 1 for count, told in results.items()}
    took = options.spent + sum(told["took"] for told in results.values())
    is_over = len(results) >= MOST_ATTEMPTS or took > options.seconds
    following = None if is_over else _next(ranking, met)
    if options.attempt.leave_in != FLOAT and not is_over and not any(met.values()):
        # Small weights that meet large activations are lost in blocks of integers.
        worst = [_loss(results[count], options) for count in options.tried if count]
        if following is None or (worst and worst[-1] > HOPELESS):
            in_floats = replace(options.attempt, leave_in=FLOAT)
            tried = tuple(count for count in options.tried if not count)
            options = replace(options, attempt=in_floats, tried=tried, spent=took)
            following = _next(ranking, dict.fromkeys(tried, False))
    if following is None:
        return {"model": _conclude(work, options, ranking, results, met, is_over=is_over)}
    return _grow(work, options, ranking, following)


def _next(ranking: Ranking, met: dict[int, bool]) -> int | None:
    """Say how many to leave out next: none at first, then what the ranking says, then around that."""
    if not met:
        return 0
    if met.get(0):
        return None
    last = len(ranking.names) - 1
    least = max(count for count, good in met.items() if not good)
    enough = min((count for count, good in met.items() if good and count > least), default=None)
    if enough is None:
        if least >= last:
            return None
        # From what should have been enough it goes on in steps that double.
        step = ranking.enough if len(met) == 1 else 2 ** (len(met) - 2)
        return min(least + max(step, 1), last)
    if enough - least <= 1:
        return None
    return enough - 1 if sum(met.values()) == 1 else (least + enough) // 2


def _grow(work: Work, options: SearchOptions, ranking: Ranking, count: int) -> MoreSteps:
    quantizing = dict(options.attempt.options)
    leave_in = options.attempt.leave_in
    # Names of nodes are patterns here: brackets are no choice of letters.
    left = [escape(name) for name in ranking.names[:count]]
    quantizing[leave_in] = [*quantizing.get(leave_in, ()), *left]
    own = {name: Output(OWN, name) for name in work.inputs()}
    trying = Step(
        label=f"quantize all but {count} of {len(ranking.names)} nodes",
        run="onnxbuild.graph.sparing.run:attempt",
        options=replace(options.attempt, options=quantizing, count=count),
        inputs={
            name: own[name]
            for name in ("model", "ranges", "samples", "shapes", "data")
            if name in own
        },
        outputs=("model", "measured"),
        libraries=options.attempt.libraries,
        machine=True,
        timed=True,
        resources=Resources(isolate=True),
    )
    going_on = Step(
        label="leave out the fewest nodes",
        run="onnxbuild.graph.sparing.run:search",
        options=replace(options, tried=(*options.tried, count)),
        inputs={
            **own,
            f"model_{count}": Output(trying),
            f"measured_{count}": Output(trying, "measured"),
        },
        libraries=options.attempt.libraries,
        machine=True,
        may_grow=True,
        resources=Resources(isolate=True),
    )
    return MoreSteps(outputs={"model": Output(going_on)})


def _conclude(
    work: Work,
    options: SearchOptions,
    ranking: Ranking,
    results: dict[int, Any],
    met: dict[int, bool],
    *,
    is_over: bool,
) -> Artifact:
    curve = [
        {
            "left_out": count,
            "bytes": told["bytes"],
            "cosine": told["cosine"],
            "scaled": told["scaled"],
            "where": told["where"],
            "seconds": told["seconds"],
            "met": met[count],
        }
        for count, told in sorted(results.items())
    ]
    good = [count for count in results if met[count]]
    if not good:
        best = min(results, key=lambda count: _loss(results[count], options))
        told = results[best]
        raise StageError(
            f"mode auto: {_asked(options)} is not met; nearest is {best} of {len(ranking.names)} nodes left out,"
            f" with a cosine of {told['cosine']:.4f} and a scaled error of {told['scaled']:.3g} ({told['where']})",
            hint="allow more under `target` or `verify`, or give it more time with `budget`"
            if is_over
            else "allow more under `target` or `verify`, or use float16",
        )
    fewest = min(good)
    work.notes.update(results[fewest]["notes"])
    work.notes["curve"] = curve
    work.notes["left_out"] = {
        name: round(loss, 4)
        for name, loss in zip(ranking.names[:fewest], ranking.losses, strict=False)
    }
    work.notes["target"] = plain(options.target)
    if is_over and fewest:
        work.notes["budget"] = "used up: fewer nodes may be enough"
    return work.inputs()[f"model_{fewest}"]


def _asked(options: SearchOptions) -> str:
    asked = {"cosine": options.target.cosine, "scaled": options.target.scaled}
    return " and ".join(f"{name} {value:g}" for name, value in asked.items() if value is not None)


def _loss(told: dict[str, Any], options: SearchOptions) -> float:
    measured = Measured(cosine=told["cosine"], scaled=told["scaled"], broken=told["broken"])
    return measured.loss(options.target)


def _measure(work: Work, made: Artifact) -> Measured:
    session = sessions.load(work.input("model"), made_by="the stage before")
    reference = Reference.of(session, named_items(work))
    del session
    candidate = sessions.load(work.store.path(made), made_by="the quantizer")
    return reference.measure(candidate, timed=True)


def _quick(path: str) -> ort.InferenceSession:
    """Load without what pays only in many runs."""
    settings = sessions.options()
    settings.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
    settings.add_session_config_entry("session.disable_prepacking", "1")
    return ort.InferenceSession(path, settings, providers=["CPUExecutionProvider"])


def _ranges(work: Work) -> dict[str, tuple[float, float]]:
    tensors = work.json("ranges")["tensors"]
    return {
        name: (_number(found["lowest"]), _number(found["highest"]))
        for name, found in tensors.items()
        if "lowest" in found
    }


def _number(kept: dict[str, Any]) -> float:
    value = kept["value"]
    while isinstance(value, list):
        value = value[0]
    return float(value)


@dataclass(frozen=True, slots=True)
class _Within:
    """The work of a step inside another: other options, all else the same."""

    outer: Work
    options: Any

    @property
    def folder(self) -> str:
        """The outer step's."""
        return self.outer.folder

    @property
    def store(self) -> ContentStore:
        """The outer step's."""
        return self.outer.store

    @property
    def notes(self) -> dict[str, Any]:
        """The outer step's."""
        return self.outer.notes

    def input(self, name: str) -> str:
        """Give the outer step's input."""
        return self.outer.input(name)

    def inputs(self) -> Any:
        """Give the outer step's inputs."""
        return self.outer.inputs()

    def json(self, name: str) -> Any:
        """Read the outer step's input."""
        return self.outer.json(name)

    def put_json(self, value: Any) -> Artifact:
        """Make a result."""
        return self.outer.put_json(value)

    def put_file(self, path: str, kind: Kind = "file") -> Artifact:
        """Make a result."""
        return self.outer.put_file(path, kind)
