"""The two exporters of torch, called with what the recipe asks, and their errors in words."""

from __future__ import annotations

import logging
import os
import re
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import onnx
import onnx.version_converter
import onnx_ir as ir
import torch
from torch import nn

from onnxbuild.core.ports import Work
from onnxbuild.errors import ExportError
from onnxbuild.graph.load import read
from onnxbuild.recipe import dimensions
from onnxbuild.recipe.schema import Dim, Export
from onnxbuild.steps.export.between import between, find_bounds, guarded
from onnxbuild.steps.export.capturing import capturing
from onnxbuild.steps.export.decisions import WARNS, find_decisions
from onnxbuild.steps.export.diagnosis import diagnose, reason
from onnxbuild.steps.export.filled import Filled
from onnxbuild.steps.export.fixed import converted_sizes, heard_fixing
from onnxbuild.steps.export.measure import Problem
from onnxbuild.steps.export.multiples import simplified
from onnxbuild.steps.export.recompute import called_plainly
from onnxbuild.steps.export.spec import ExportOptions
from onnxbuild.steps.export.tables import unfilled
from onnxbuild.steps.export.target import Target
from onnxbuild.steps.export.ways import (
    COMPILED,
    DYNAMO_LEAST,
    Doubt,
    Stage,
    Way,
    exporter_of,
    opset_of,
)
from onnxbuild.steps.export.wholes import Places, kept, noticed
from onnxbuild.steps.model.adapter import Adapter
from onnxbuild.steps.model.user import log_traceback, say

# It says of each of torchvision's operators that torchvision is not installed, at every export.
logging.getLogger("torch.onnx._internal.exporter._registration").setLevel(logging.ERROR)


def refuse(export: Export) -> None:
    """Raise `ExportError` when the exporter that is asked for cannot honour the rest of the section."""
    opset = opset_of(export)
    if export.exporter == "dynamo" and opset < DYNAMO_LEAST:
        raise ExportError(
            f"the dynamo exporter writes opset {DYNAMO_LEAST} and up; opset {opset} was asked for",
            where="export.opset",
            hint="say `exporter: torchscript` or `auto`",
        )
    if export.exporter == "dynamo" and export.custom_opsets:
        raise ExportError(
            "the dynamo exporter takes no `custom_opsets`",
            where="export.custom_opsets",
            hint="say `exporter: torchscript`",
        )
    if export.exporter == "torchscript" and export.strict:
        raise ExportError(
            "the TorchScript exporter has no strict mode",
            where="export.strict",
            hint="leave it out",
        )


def is_converted(way: Way, export: Export) -> bool:
    """True if the exporter cannot write the opset, so that onnx converts what it wrote."""
    return exporter_of(way) != "torchscript" and opset_of(export) < DYNAMO_LEAST


MOST_CAPTURES = 3
"""How often a model is captured again: code behind a size that was fixed is reached once it no longer is."""


@dataclass(slots=True)
class Trial:
    """What is found out while a way is tried, whatever becomes of it."""

    way: Way
    doubts: list[Doubt]
    """Sizes at which the graph may not be the model."""

    reached: Stage = "capture"
    """How far it got."""

    fixing: list[str] = field(default_factory=list)
    """Lines of the model that make numbers of sizes."""

    look: Callable[[], list[str]] | None = None
    """Finds such lines where none is known yet: it takes as long as a capture."""

    changed: list[str] = field(default_factory=list)
    """Tensors of the model that it changes when it is called."""

    draws: bool = False
    """The model draws random numbers."""

    problems: list[Problem] = field(default_factory=list)
    """What was wrong with the graph at the samples."""

    def find_fixing(self) -> list[str]:
        """Give the lines of the model that make numbers of sizes."""
        if not self.fixing and self.look is not None:
            with heard(), torch.no_grad(), simplified():
                self.fixing = self.look()
        return self.fixing


def run_exporter(
    trial: Trial,
    adapter: Adapter,
    values: Sequence[torch.Tensor],
    target: Target,
    options: ExportOptions,
    work: Work,
) -> ir.Model:
    """Export in one way, and note in `trial` what is found out on it.

    Raises `ExportError` with the first useful lines of what it said.
    """
    export = _torchscript if exporter_of(trial.way) == "torchscript" else _dynamo
    try:
        with heard(), torch.no_grad(), simplified():
            return export(adapter, tuple(values), target, options, work, trial)
    except ExportError:
        raise
    except Exception as error:
        log_traceback(error)
        raise diagnose(error, trial.way) from error


def _dynamo(
    adapter: Adapter,
    values: tuple[torch.Tensor, ...],
    target: Target,
    options: ExportOptions,
    _work: Work,
    trial: Trial,
) -> ir.Model:
    export = options.export
    opset = opset_of(export)
    # Without names first. Named dimensions are contracts: torch refuses a model that holds for some sizes
    # only, or where one dimension follows from another, and a second capture costs as much as the first.
    # The declared names come afterwards, and the checks see what came out.
    strict = trial.way == "dynamo strict"
    places = Places()

    def capture(*, named: bool = False) -> torch.export.ExportedProgram:
        model = adapter.model
        with ExitStack() as stack:
            for context in (kept(places), noticed(places), unfilled(model)):
                stack.enter_context(context)
            if not strict:
                # Strict mode knows functions by their identity, follows some by itself, and looks into all
                # that runs beside the model.
                stack.enter_context(capturing(model))
                stack.enter_context(Filled())
            return _capture(adapter, values, target, options, named=named, strict=strict)

    program = _keep_sizes(capture(), capture, places, target)
    fixed = _fixed(program, target)
    if fixed:
        reopened, trial.fixing = _reopen(capture, target, fixed)
        program = reopened or program
    else:
        trial.look = lambda: _reopen(capture, target, find_bounds(target))[1]
    trial.doubts += guarded(program, target)
    trial.reached = "translation"
    result = torch.onnx.export(
        program,
        (),
        dynamo=True,
        opset_version=max(opset, DYNAMO_LEAST),
        input_names=[port.name for port in target.inputs],
        output_names=[port.name for port in target.outputs],
        # There is no flag for constant folding; the optimizer is what folds.
        optimize=export.constant_folding,
        verbose=False,
    )
    if result is None:
        raise ExportError("dynamo gave no graph", where="export")
    if not is_converted(trial.way, export):
        return result.model
    # The last resort of `auto` where TorchScript fails. Some operators can be converted, and the checks see
    # whether these were.
    say(f"converting from opset {DYNAMO_LEAST} to {opset}")
    proto = ir.to_proto(result.model)
    return ir.from_proto(onnx.version_converter.convert_version(proto, opset))


def _reopen(
    capture: Callable[..., torch.export.ExportedProgram], target: Target, fixed: Iterable[str]
) -> tuple[torch.export.ExportedProgram | None, list[str]]:
    """Capture once more with the dimensions as contracts; if that fails, give the lines that make constants of them."""
    with heard_fixing() as lines:
        try:
            program = capture(named=True)
        except Exception as error:  # noqa: BLE001 - said here, and what it was to find is told without it
            log_traceback(error)
            say(f"dynamo fixes {', '.join(fixed)}: {reason(error)}")
            program = None
    sizes = [int(target.shapes[0]["sizes"][dim]) for dim in fixed]
    return program, [lines[size] for size in sizes if size in lines]


def _keep_sizes(
    program: torch.export.ExportedProgram,
    capture: Callable[[], torch.export.ExportedProgram],
    places: Places,
    target: Target,
) -> torch.export.ExportedProgram:
    """Capture again where ``int(size)`` may have fixed sizes, this time without that; give the better program."""
    met = tuple(places.lines)
    if not met:
        return program
    tied = _ties(program, target)
    for _ in range(MOST_CAPTURES):
        if not tied:
            break
        try:
            again = capture()
        except Exception as error:  # noqa: BLE001 - said here; the program that there is stays, and is judged
            log_traceback(error)
            say(f"not captured without int() of sizes: {reason(error)}")
            places.clear()
            break
        more = tuple(line for line in places.lines if line not in met)
        if _ties(again, target) < tied:
            say(f"captured again, with the sizes kept that these make numbers: {', '.join(met)}")
            program, tied = again, _ties(again, target)
        if not more:
            break
        met += more
    return program


def _ties(program: torch.export.ExportedProgram, target: Target) -> int:
    """Count what ties a program to some sizes: dimensions that are fixed, sizes at which a guard fails."""
    return len(_fixed(program, target)) + len(guarded(program, target))


def _capture(
    adapter: Adapter,
    values: tuple[torch.Tensor, ...],
    target: Target,
    options: ExportOptions,
    *,
    named: bool,
    strict: bool,
) -> torch.export.ExportedProgram:
    dims: dict[str, Any] = {}
    shapes = tuple(
        {
            axis: dims.setdefault(dim, _dim(dim, options.dims.get(dim), named=named))
            for axis, dim in target.axes(port.name).items()
        }
        for port in target.inputs
    )
    return torch.export.export(
        adapter.module,
        values,
        # The adapter's forward has one parameter, *values.
        dynamic_shapes=(shapes,) if values else None,
        strict=strict,
    )


def _fixed(program: torch.export.ExportedProgram, target: Target) -> list[str]:
    """Name the declared dimensions that the captured program takes for constants."""
    nodes = {node.name: node for node in program.graph.nodes}
    fixed: dict[str, None] = {}
    for name, port in zip(program.graph_signature.user_inputs, target.inputs, strict=False):
        value = nodes[name].meta.get("val") if isinstance(name, str) and name in nodes else None
        if isinstance(value, torch.Tensor):
            axes = target.axes(port.name)
            fixed.update(
                {dim: None for axis, dim in axes.items() if isinstance(value.shape[axis], int)}
            )
    return list(fixed)


def _dim(name: str, bounds: Dim | None, *, named: bool) -> Any:
    if not dimensions.read(name).is_name:
        # torch has a name for what follows from one dimension, and none for a sum of two; it finds out which it is.
        return torch.export.Dim.AUTO
    least = 1 if bounds is None or bounds.min is None else bounds.min
    most = None if bounds is None or bounds.max is None or bounds.max <= least else bounds.max
    if named:
        # A name that is no Python identifier is refused; the graph gets the declared one afterwards.
        safe = re.sub(r"\W", "_", name)
        safe = safe if safe.isidentifier() else f"d_{safe}"
        step = 1 if bounds is None else bounds.multiple_of
        if step > 1:
            most = None if most is None else most // step
            return step * torch.export.Dim(f"{safe}_by_{step}", min=-(-least // step), max=most)
        return torch.export.Dim(safe, min=least, max=most)
    return torch.export.Dim.AUTO(min=least, max=most)


def _torchscript(
    adapter: Adapter,
    values: tuple[torch.Tensor, ...],
    target: Target,
    options: ExportOptions,
    work: Work,
    trial: Trial,
) -> ir.Model:
    path = os.path.join(work.folder, "torchscript.onnx")
    model = adapter.model
    with heard() as warned, capturing(model), called_plainly():
        # A compiled module cannot be called inside of an exporter's trace; a trace of its own takes it in.
        is_compiled = isinstance(adapter.model, torch.jit.ScriptModule)
        module = adapter.model if is_compiled else adapter.module
        with unfilled(model):
            if trial.way == COMPILED:
                module = torch.jit.trace(adapter.module, values, check_trace=False)
            _trace(module, values, target, options.export, path)
        with unfilled(model):
            decisions = find_decisions(adapter, values, warned)
    if any(str(warning.message).startswith(WARNS) for warning in warned):
        trial.doubts += between(target, "a trace turned sizes into constants")
        trial.fixing = converted_sizes(warned)
    if decisions and options.export.exporter == "auto":
        places = "".join(f"\n  {place}" for place in decisions)
        raise ExportError(
            "torchscript would keep what the example decides, and forward decides by the values of its"
            f" inputs:{places}",
            where="export.exporter",
            hint="write it with torch.where or torch.cond; or, where every input goes the same way,"
            " say `exporter: torchscript`",
        )
    if decisions:
        work.notes["decisions"] = decisions
    return read(path)


def _trace(
    module: nn.Module,
    values: tuple[torch.Tensor, ...],
    target: Target,
    export: Export,
    path: str,
) -> None:
    torch.onnx.export(
        module,
        values,
        path,
        dynamo=False,
        opset_version=opset_of(export),
        input_names=[port.name for port in target.inputs],
        output_names=[port.name for port in target.outputs],
        dynamic_axes={
            port.name: axes
            for port in (*target.inputs, *target.outputs)
            if (axes := target.axes(port.name))
        },
        do_constant_folding=export.constant_folding,
        custom_opsets=dict(export.custom_opsets) or None,
    )


@contextmanager
def heard() -> Iterator[list[warnings.WarningMessage]]:
    """Write the warnings of a library to the log, each once, wherever they come from, and give them."""
    said: set[str] = set()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            yield caught
        finally:
            for warning in caught:
                lines = str(warning.message).strip().splitlines() or [""]
                line = f"{warning.category.__name__}: {lines[0][:300]}"
                if line not in said:
                    said.add(line)
                    say(line)
