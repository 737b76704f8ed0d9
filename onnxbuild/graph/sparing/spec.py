"""The search for the fewest nodes to leave out: what it may be told, and the steps that it becomes.

One step ranks the nodes by what each loses alone; the next answers with attempts, each a quantization of its
own that is measured and kept, until the least number of nodes is known.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeAlias

from onnxbuild.core.quantities import AGE, read_age
from onnxbuild.core.step import Output, Resources, Step
from onnxbuild.core.values import plain
from onnxbuild.recipe.schema import Limits, NotNegative, Share
from onnxbuild.recipe.stage import StageContext

Mode: TypeAlias = Literal["all", "auto"]
Budget: TypeAlias = Annotated[str, Limits(pattern=AGE)]

COSINE = 0.99
"""What is aimed at where neither stage nor `verify` says anything."""

LIBRARIES = ("onnx", "onnx-ir", "onnxruntime", "numpy")


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """How near the quantized model must be to the one that it is made of, at every size that is visited."""

    cosine: Share | None = None
    """Cosine of the angle between the outputs, at least."""

    scaled: NotNegative | None = None
    """The largest error over the largest value, at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RankOptions:
    """What the ranking depends on."""

    target: Target
    seconds: float
    op_types: tuple[str, ...] = ()
    """Operators that the recipe asks for; those of the architecture if empty."""
    nodes_to_quantize: tuple[str, ...] = ()
    nodes_to_exclude: tuple[str, ...] = ()
    reduce_range: bool | None = None
    residue: float = 0.0
    """Share of its loss that a node keeps when it is left out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptOptions:
    """One quantization, whose options name the nodes to leave out."""

    run: str
    """The step that quantizes, as ``package.module:function``."""
    options: Mapping[str, Any]
    count: int
    """How many nodes this attempt leaves out."""
    leave_in: str
    """The option that names them."""
    libraries: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchOptions:
    """The search, as far as it has come."""

    attempt: AttemptOptions
    target: Target
    seconds: float
    spent: float = 0.0
    """Seconds that went into attempts of another kind."""
    tried: tuple[int, ...] = ()
    """Numbers of nodes that were left out so far, in the order of the attempts."""


def choose_target(given: Target | None, context: StageContext) -> Target:
    """Give what is aimed at: what the stage says, else what `verify` asks of the variant, else `COSINE`."""
    if given is not None and (given.cosine is not None or given.scaled is not None):
        return given
    gates = context.recipe.verify_of(context.name)
    levels = [gates, *gates.outputs.values()]
    # One target is for all outputs: the closest of what is asked of any.
    cosine = max((one.cosine for one in levels if one.cosine is not None), default=None)
    scaled = min((one.scaled for one in levels if one.scaled is not None), default=None)
    if cosine is None and scaled is None:
        return Target(cosine=COSINE)
    return Target(cosine=cosine, scaled=scaled)


def spare(
    quantize: Step,
    context: StageContext,
    *,
    target: Target | None,
    budget: str,
    ranks: RankOptions,
    data: Output | None = None,
    leave_in: str = "nodes_to_exclude",
) -> Output:
    """Give the output that stands for what `quantize` makes once the fewest nodes are left out.

    `ranks` has what the ranking must know of the quantization; target and time are filled in here. `data` are
    measured on beside the samples. `leave_in` is the option of the quantization that names what is left out.
    """
    aim, seconds = choose_target(target, context), read_age(budget)
    inputs = dict(quantize.inputs)
    if context.sampling is not None:
        inputs["samples"] = Output(context.sampling, "samples")
        inputs["shapes"] = Output(context.sampling, "shapes")
    if data is not None:
        inputs["data"] = data
    told = {**plain(ranks), "target": plain(aim), "seconds": seconds / 2}
    rank = Step(
        label=f"{context.name}: rank nodes by what they lose",
        run="onnxbuild.graph.sparing.run:rank",
        options=told,
        inputs=inputs,
        outputs=("ranking",),
        libraries=LIBRARIES,
        machine=True,
        timed=True,
        resources=Resources(isolate=True),
    )
    attempt = AttemptOptions(
        run=quantize.run,
        options=plain(quantize.options),
        count=0,
        leave_in=leave_in,
        libraries=quantize.libraries,
    )
    search = Step(
        label=f"{context.name}: leave out the fewest",
        run="onnxbuild.graph.sparing.run:search",
        options=SearchOptions(attempt=attempt, target=aim, seconds=seconds),
        inputs={**inputs, "ranking": Output(rank, "ranking")},
        libraries=LIBRARIES,
        machine=True,
        may_grow=True,
        resources=Resources(isolate=True),
    )
    return Output(search)
