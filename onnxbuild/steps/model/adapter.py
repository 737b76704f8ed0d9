"""One module around the user's: tensors in, in the recipe's order; tensors out, flat.

Reference and export use the same one. An input whose name is a parameter of ``forward`` is passed by that
name; the others take the parameters that are left, in order. Inputs with dots in their names are parts of an
argument, see `structure`. Constants are passed as they are. The adapter shares the parameters, buffers
and children of the user's module, so that their names in an exported file have no prefix.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils._pytree import TreeSpec

from onnxbuild.errors import ModelError
from onnxbuild.steps.model.caches import PARAMETER, is_transformer
from onnxbuild.steps.model.flatten import Path, flatten, name_outputs
from onnxbuild.steps.model.names import match_outputs, name_caches
from onnxbuild.steps.model.settled import numbers_kept
from onnxbuild.steps.model.structure import Make, Node, assemble, grow, hints_of
from onnxbuild.steps.model.tensors import to_numpy, to_torch
from onnxbuild.steps.model.user import say, user_code

Parameter = inspect.Parameter

USE_CACHE = "use_cache"
"""The parameter by which models of transformers are told to give their cache."""

NEAR = 0.8
"""Likeness, as `difflib` has it, from which on a name is taken for another one misspelt."""


class Adapter:
    """Calls `model` with tensors in the recipe's order, and gives its tensors by name."""

    def __init__(
        self,
        model: nn.Module,
        inputs: Sequence[str],
        outputs: Sequence[str] | None,
        constants: Mapping[str, Any] = {},
    ) -> None:
        self.model = model
        self.inputs = tuple(inputs)
        self.outputs: tuple[str, ...] | None = None
        self.order: tuple[int, ...] = ()
        self._numbers: set[str] = set()
        self._declared = None if outputs is None else tuple(outputs)
        self._given: tuple[str, ...] = ()
        self._arguments = grow(inputs, constants)
        self._positional, self._keywords = bind(model, self._arguments)
        self._makes = self._prepare()
        self.module = _Flat(self)
        """What is exported: takes the tensors as positional arguments, returns a flat tuple."""

    def _prepare(self) -> dict[str, Make]:
        """Give, for each argument, what makes it of the tensors."""
        hints = annotations_of(self.model)
        parameters = {name: name for name in self._positional} | {
            argument: parameter for parameter, argument in self._keywords.items()
        }
        named = dict(zip(self._positional, _parameters(self.model), strict=False))
        makes = {}
        for name, node in self._arguments.items():
            parameter = named.get(name, parameters[name])
            makes[name] = assemble(node, hints.get(parameter), self.model)
            if parameter == PARAMETER and not node.is_leaf:
                self._keep_cache()
        makes |= {
            name: assemble(node, None, self.model)
            for name, node in self._arguments.items()
            if name not in makes
        }
        return makes

    def _keep_cache(self) -> None:
        """Have a model of transformers give the cache that it is given, whatever its configuration says."""
        if is_transformer(self.model) and USE_CACHE not in self._arguments:
            node = Node(path=USE_CACHE, constant=True, is_constant=True)
            self._arguments = {**self._arguments, USE_CACHE: node}
            self._keywords[USE_CACHE] = USE_CACHE

    def run(self, values: Sequence[torch.Tensor]) -> list[tuple[Path, torch.Tensor]]:
        """Call the model and give its tensors with the way to each."""
        positional = [self._makes[name](values) for name in self._positional]
        keywords = {key: self._makes[name](values) for key, name in self._keywords.items()}
        return list(flatten(self.model(*positional, **keywords)))

    def mapping(self) -> str:
        """Say which input is passed how, for the log. Constants have their values."""
        named = {name: f"{key}=" for key, name in self._keywords.items()}
        told = []
        for name, node in self._arguments.items():
            inner = ", ".join(leaf.told for leaf in node.leaves())
            told.append(named.get(name, "") + (inner if node.is_leaf else f"({inner})"))
        return ", ".join(told)

    def call(self, values: Sequence[torch.Tensor]) -> dict[str, torch.Tensor]:
        """Run the model once, eagerly, and give its outputs by name.

        The first call fixes the outputs' names. Raises `ModelError` when the model fails on these values, gives
        something else than tensors, or not as many as the first time.
        """
        sizes = ", ".join(
            f"{name} {'x'.join(map(str, value.shape)) or 'scalar'}"
            for name, value in zip(self.inputs, values, strict=True)
        )
        shapes = f"the model fails on inputs of these shapes ({sizes})"
        with user_code(shapes), numbers_kept(self.model) as changed:
            found = self.run(values)
        if new := [name for name in changed if name not in self._numbers]:
            self._numbers |= set(new)
            say(f"the model changes {', '.join(new)} when it is called; each call begins anew")
        given = name_caches(name_outputs([path for path, _ in found]), self.inputs)
        if self.outputs is None:
            if not given:
                raise ModelError("the model returns no tensor", where="outputs")
            self.outputs, self.order = match_outputs(given, self._declared)
            left_out = [name for i, name in enumerate(given) if i not in self.order]
            if left_out:
                say(f"the recipe leaves out the outputs {', '.join(left_out)}")
            both = [name for name in self.outputs if name in self.inputs]
            if both:
                raise ModelError(
                    f"an input and an output are both named {both[0]!r}, and a graph has each name once",
                    where="outputs",
                    hint=f"name all outputs under `outputs:`, in the order of {', '.join(given)}",
                )
            self._given = given
        elif given != self._given:
            raise ModelError(
                f"the model gives other outputs for other shapes: {', '.join(given)} for {sizes}, "
                f"{', '.join(self._given)} before",
                where="outputs",
            )
        return {name: found[index][1] for name, index in zip(self.outputs, self.order, strict=True)}

    def predict(self, item: Mapping[str, np.ndarray[Any, Any]]) -> dict[str, np.ndarray[Any, Any]]:
        """Run the model on arrays by the names of its inputs."""
        # Not inference_mode: models that keep a tensor of one call for the next would fail there.
        with torch.no_grad():
            outputs = self.call(self.tensors(item))
        return {name: to_numpy(value) for name, value in outputs.items()}

    def tensors(self, item: Mapping[str, np.ndarray[Any, Any]]) -> tuple[torch.Tensor, ...]:
        """Give the inputs among `item` as tensors, in order."""
        return tuple(to_torch(item[name]) for name in self.inputs)


class _Flat(nn.Module):  # type: ignore[misc]
    """The adapter as a module. It has one attribute of its own, whose name no child of the user's can have."""

    def __init__(self, adapter: Adapter) -> None:
        super().__init__()
        model = adapter.model
        self.__dict__["<onnxbuild>"] = adapter
        self.training = model.training
        if isinstance(model, torch.jit.ScriptModule):
            # A compiled module keeps its children in C++; here they do get a prefix.
            self.model = model
            return
        # Not a child: a child's name would become a prefix of every parameter's.
        self._parameters = model._parameters
        self._buffers = model._buffers
        self._modules = model._modules
        self._non_persistent_buffers_set = model._non_persistent_buffers_set

    def forward(self, *values: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Call the model with one tensor for each input."""
        adapter = self.__dict__["<onnxbuild>"]
        found = adapter.run(values)
        return tuple(found[index][1] for index in adapter.order)


def bind(model: nn.Module, arguments: Mapping[str, Node]) -> tuple[tuple[str, ...], dict[str, str]]:
    """Say which arguments are passed by position, and which by what keyword.

    Raises `ModelError` when ``forward`` takes fewer inputs, or needs more.
    """
    parameters = _parameters(model)
    rest = [p for p in parameters.values() if p.kind is Parameter.VAR_POSITIONAL]
    open_keywords = [p for p in parameters.values() if p.kind is Parameter.VAR_KEYWORD]
    named = {
        name: p
        for name, p in parameters.items()
        if p.kind not in {Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD}
    }
    taken: dict[str, str] = {name: name for name in arguments if name in named}
    left = [name for name in arguments if name not in named]
    by_name = set(taken)
    for name in left:
        # By order comes what is computed with; a constant of a wrong name would be one for something else.
        if arguments[name].is_constant and not open_keywords:
            near = get_close_matches(name, named, n=1)
            raise ModelError(
                f"forward() has no parameter {name!r} for the constant",
                where=f"inputs.{name}",
                hint=f"did you mean {near[0]!r}?"
                if near
                else f"forward() takes: {', '.join(named)}",
            )
    taken |= {name: name for name in left if arguments[name].is_constant}
    left = [name for name in left if name not in taken]
    free = [name for name, p in named.items() if name not in taken]
    free = [name for name in free if named[name].kind is not Parameter.KEYWORD_ONLY]
    while left and free:
        parameter, name = free.pop(0), left.pop(0)
        _refuse_near(name, parameter, [other for other in named if other not in by_name])
        taken[parameter] = name
    extra: list[str] = left if rest else []
    if left and not rest:
        if not open_keywords:
            raise _too_many(list(arguments), named)
        taken |= {name: name for name in left}
    missing = [name for name, p in named.items() if p.default is Parameter.empty]
    missing = [name for name in missing if name not in taken]
    if missing:
        raise ModelError(
            f"forward() needs {', '.join(missing)}, for which the recipe has no input",
            where="inputs",
            hint=f"forward() takes: {', '.join(named)}",
        )
    return _arrange(named, taken, extra)


def _refuse_near(name: str, parameter: str, others: Sequence[str]) -> None:
    """Refuse to pass an input by order for one parameter where its name is nearly that of another."""
    near = get_close_matches(name, others, n=1, cutoff=NEAR)
    if near and near[0] != parameter:
        raise ModelError(
            f"forward() has no parameter {name!r}; by order the input would be its {parameter!r}",
            where=f"inputs.{name}",
            hint=f"did you mean {near[0]!r}?",
        )


def _parameters(model: nn.Module) -> Mapping[str, inspect.Parameter]:
    if not isinstance(model, torch.jit.ScriptModule):
        parameters = inspect.signature(model.forward).parameters
        # A program of torch.export takes by keyword what was given so when it was made, and nothing else.
        spec = getattr(model, "_in_spec", None)
        keywords = spec.child(1).context if isinstance(spec, TreeSpec) else ()
        return {
            name: parameter.replace(kind=Parameter.KEYWORD_ONLY) if name in keywords else parameter
            for name, parameter in parameters.items()
        }
    kind = Parameter.POSITIONAL_OR_KEYWORD
    return {
        argument.name: Parameter(
            argument.name,
            kind,
            default=None if argument.has_default_value() else Parameter.empty,
            annotation=_compiled(str(argument.type)),
        )
        for argument in model.forward.schema.arguments[1:]
    }


def _compiled(text: str) -> Any:
    """Give what a compiled module's argument is made as."""
    for start, kind in (("List[", list), ("Dict[", dict), ("Optional[List[", list)):
        if text.startswith(start):
            return kind
    return Parameter.empty


def annotations_of(model: nn.Module) -> dict[str, Any]:
    """Give the annotations of the parameters of ``forward``, as far as they can be resolved."""
    if isinstance(model, torch.jit.ScriptModule):
        return {name: parameter.annotation for name, parameter in _parameters(model).items()}
    return hints_of(model.forward)


def _arrange(
    named: Mapping[str, inspect.Parameter], taken: Mapping[str, str], extra: Sequence[str]
) -> tuple[tuple[str, ...], dict[str, str]]:
    """Pass the leading parameters by position, what follows a gap by keyword."""
    positional: list[str] = []
    leading: set[str] = set()
    for name, parameter in named.items():
        if name not in taken or parameter.kind is Parameter.KEYWORD_ONLY:
            break
        positional.append(taken[name])
        leading.add(name)
    keywords = {name: argument for name, argument in taken.items() if name not in leading}
    return (*positional, *extra), keywords


def _too_many(inputs: Sequence[str], named: Mapping[str, inspect.Parameter]) -> ModelError:
    return ModelError(
        f"the recipe has {len(inputs)} inputs ({', '.join(inputs)}), "
        f"and forward() takes {len(named)}: {', '.join(named) or 'none'}",
        where="inputs",
        hint="name the inputs as forward() names its parameters, or give them in its order; parts of one argument are"
        f" called by it and a dot: {next(iter(named), 'batch')}.{inputs[0]}",
    )
