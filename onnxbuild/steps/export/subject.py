"""The model of one export, as an exporter gets it: loaded, its rules applied, called once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import nn

from onnxbuild.arrays import read_item
from onnxbuild.core.ports import Work
from onnxbuild.errors import ExportError, StepError
from onnxbuild.steps.export.changes import noticed
from onnxbuild.steps.export.helping import help_export
from onnxbuild.steps.export.looping import compile_loops
from onnxbuild.steps.export.measure import compare
from onnxbuild.steps.export.rules import Rules
from onnxbuild.steps.export.spec import ExportOptions
from onnxbuild.steps.export.tables import Outputs, fill_tables
from onnxbuild.steps.export.target import Target
from onnxbuild.steps.model.adapter import Adapter
from onnxbuild.steps.model.loading import load_model
from onnxbuild.steps.model.tensors import to_numpy
from onnxbuild.steps.model.user import say, user_code


@dataclass(slots=True)
class Subject:
    """A model to export, and what is asked of its graph."""

    work: Work
    options: ExportOptions
    target: Target
    adapter: Adapter
    rules: Rules
    changed: list[str] = field(default_factory=list)
    """Tensors of its own that it changes when it is called."""
    draws: bool = False
    """It draws random numbers when it is called."""

    @property
    def trace(self) -> dict[str, np.ndarray[Any, Any]]:
        """The sample that is traced, by the names of the inputs."""
        return read_item(self.work.input("samples"), 0)

    @property
    def values(self) -> Sequence[torch.Tensor]:
        """The sample that is traced, in the order of the inputs."""
        return self.adapter.tensors(self.trace)

    def run(self, module: nn.Module) -> None:
        """Call a module in the place of the model on the traced sample, for rules that look at what happens."""
        # Only called: what its outputs are named is the recipe's affair, and seen to later.
        with torch.no_grad(), user_code("the model fails on the traced sample"):
            self.adapt(module, None).run(self.values)

    def adapt(self, module: nn.Module, outputs: Sequence[str] | None) -> Adapter:
        """Give the adapter around a module that is called as the model is."""
        names = [port.name for port in self.target.inputs]
        return Adapter(module, names, outputs, self.options.constants)


def load(work: Work, options: ExportOptions, target: Target) -> Subject:
    """Load the recipe's model and apply the module rules of `options`."""
    model = load_model(options.model)
    names = [port.name for port in target.inputs]
    adapter = Adapter(model, names, options.outputs, options.constants)
    subject = Subject(work, options, target, adapter, Rules(options.replace))
    if options.replace:
        model = subject.rules.replace_modules(model, subject.run)
        subject.adapter = subject.adapt(model, options.outputs)
    return subject


def call_once(subject: Subject) -> None:
    """Call the model as the export will, and note what it changes by that, its own tensors and its inputs."""
    work, adapter, trace = subject.work, subject.adapter, subject.trace
    values = subject.values

    def call() -> Outputs:
        return {name: to_numpy(value) for name, value in adapter.call(values).items()}

    state = torch.get_rng_state()
    with noticed(adapter.model) as changed, torch.no_grad():
        found = fill_tables(adapter, call, trace, work, subject.target)
    subject.draws = not torch.equal(state, torch.get_rng_state())
    subject.changed = changed
    if changed:
        work.notes["changed_state"] = list(changed)
        say(f"the model changes {', '.join(changed)} when it is called")
    written = [name for name, value in zip(adapter.inputs, values, strict=True) if value._version]
    if written:
        work.notes["mutated_inputs"] = written
        say(f"the model writes into its inputs: {', '.join(written)}")
    if not subject.options.replace:
        _expect(found, read_item(work.input("reference"), 0))


def help_subject(subject: Subject, why: str) -> Subject | None:
    """Give the model with the rules that step in where a way has failed; None where they find nothing.

    `why` is what has failed without them.
    """
    options = subject.options
    if not options.export.auto_rules:
        return None
    taken = [rule["run"] for rule in options.replace]
    try:
        model, fired = help_export(subject.adapter.model, taken, subject.run, why)
        if not fired:
            return None
        adapter = subject.adapt(model, options.outputs)
        adapter.predict(subject.trace)
    except StepError as error:
        # What the recipe did not ask for must not hide why the way has failed.
        say(f"built-in rules do not help: {error.what}")
        return None
    say(f"{why}; rules that step in: {', '.join(item['rule'] for item in fired)}")
    subject.rules.add(fired)
    return replace(subject, adapter=adapter)


def compile_subject(subject: Subject, loops: Sequence[str]) -> Subject:
    """Give the model with the modules compiled that loop over a size at these lines."""
    model = compile_loops(subject.adapter.model, loops)
    say(f"compiled for the loops at {', '.join(loops)}")
    subject.work.notes["loops"] = list(loops)
    adapter = subject.adapt(model, subject.options.outputs)
    adapter.predict(subject.trace)
    return replace(subject, adapter=adapter)


def _expect(given: Mapping[str, Any], expected: Mapping[str, Any]) -> None:
    """See, before any exporter is blamed, that the model is the one that the reference has run."""
    for name, wanted in expected.items():
        problem = compare(name, wanted, given[name])
        if problem:
            raise ExportError(
                "called again on the same inputs, the model gives other numbers than in the step"
                f" `reference`: {problem}",
                where="model",
                hint="draw random numbers in __init__, where each step has the same seed, not in forward;"
                " or, if one of its files was edited during the build, run again",
            )
