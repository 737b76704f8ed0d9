"""Make the recipe's model: an ``nn.Module`` in eval mode, with its weights."""

from __future__ import annotations

import gc
import json
import os
import random
import warnings
import weakref
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.multiprocessing.reductions import StorageWeakRef

from onnxbuild import entries
from onnxbuild.errors import ModelError
from onnxbuild.recipe.schema import Model
from onnxbuild.steps.model.user import describe, say, user_code
from onnxbuild.steps.model.weights import load_state, read_state


class Seeds:
    """The state of the random generators now, so that a model that is made once more draws the same numbers."""

    def __init__(self) -> None:
        self._python = random.getstate()
        self._numpy = np.random.get_state()  # noqa: NPY002 - what user code draws from
        self._torch = torch.get_rng_state()

    def restore(self) -> None:
        """Go back to that state."""
        random.setstate(self._python)
        np.random.set_state(self._numpy)  # noqa: NPY002 - what user code draws from
        torch.set_rng_state(self._torch)


def load_model(model: Model) -> nn.Module:
    """Load the model that a recipe describes (all but ``model.onnx``).

    Raises `ModelError` where it cannot be built, is no ``nn.Module``, or its weights do not fit.
    """
    # The fused encoder layer has no ONNX form, and gives slightly other numbers than the one that has.
    torch.backends.mha.set_fastpath_enabled(False)
    if model.entry is not None:
        module = _from_entry(model)
    elif model.program is not None:
        module = _from_program(model)
    elif model.huggingface is not None:
        module = _from_huggingface(model)
    else:
        raise ModelError("the recipe names no PyTorch model", where="model")
    if model.wrap is not None:
        with user_code(f"wrapping the model in {model.wrap} failed"):
            module = _checked(entries.load(model.wrap)(module), model.wrap)
    return set_eval(module)


def set_eval(module: nn.Module) -> nn.Module:
    """Put a module in eval mode. Programs of ``torch.export`` in it stay as they are."""
    with user_code("putting the model in eval mode failed"):
        try:
            # What it returns is not used: an override of `train` may forget to return the module.
            module.eval()
        except NotImplementedError:
            # Programs of torch.export have no modes, wherever in the model they are.
            for child in module.modules():
                child.training = False
    return module


def _from_entry(model: Model) -> nn.Module:
    name = str(model.entry)
    with user_code(f"loading {name} failed"):
        entry = entries.load(name)
    if not isinstance(entry, nn.Module) and not callable(entry):
        raise ModelError(f"{name} is a {type(entry).__name__}, no callable", where="model.entry")
    if model.weights is None:
        return _build(entry, model)
    state = read_state(model.weights)
    seeds = Seeds()
    module = _build_lean(entry, model)
    if module is not None:
        load_state(module, state, model.weights, assign=True)
        left = _on_meta(module)
        if not left:
            return module
        say(
            f"{left} is computed from weights or absent from the file: built again with real weights"
        )
    seeds.restore()
    module = _build(entry, model)
    load_state(module, state, model.weights, assign=False)
    return module


def _build(entry: Any, model: Model) -> nn.Module:
    if isinstance(entry, nn.Module):
        if model.kwargs:
            raise ModelError(
                f"{model.entry} is a module already, so `kwargs` reach nothing",
                where="model.kwargs",
                hint="name its class, or a function that builds it",
            )
        return entry
    with user_code(f"building the model failed: {model.entry}"):
        return _checked(entry(**model.kwargs), str(model.entry))


def _checked(module: Any, entry: str) -> nn.Module:
    if not isinstance(module, nn.Module):
        raise ModelError(
            f"{entry} returned a {type(module).__name__}, no nn.Module",
            where="model",
            hint="return the module itself; `model.weights` loads a state dict into it",
        )
    return module


def _build_lean(entry: Any, model: Model) -> nn.Module | None:
    """Build the module with parameters that take no memory; None where its code cannot do without values."""
    if isinstance(entry, nn.Module):
        return None
    try:
        with _parameters_on_meta() as moved, warnings.catch_warnings():
            # Weights that the constructor loads itself; the recipe's come after them.
            warnings.filterwarnings("ignore", message=".*copying from a non-meta parameter.*")
            module = _checked(entry(**model.kwargs), str(model.entry))
    except ModelError:
        raise
    except Exception as error:  # noqa: BLE001 - said here, and raised by the normal build if it is real
        say(f"needs real weights while it is built ({describe(error)}): built normally")
        return None
    if _any_alive(moved):
        gc.collect()
    if _any_alive(moved):
        say("holds a weight in other places than as a parameter too: built with real weights")
        return None
    return module


def _any_alive(moved: Iterable[_Moved]) -> bool:
    """Tell whether the memory of a parameter that was moved away is still held by something.

    By a list, a closure, a hook or a view, say: what holds it would not see the weights that are loaded.
    """
    return any(not item.memory.expired() for item in moved)


@dataclass(frozen=True, slots=True)
class _Moved:
    original: weakref.ref[Any]
    memory: StorageWeakRef
    shadow: nn.Parameter


@contextmanager
def _parameters_on_meta() -> Iterator[Iterable[_Moved]]:
    """Move each parameter to the meta device as a module registers it; give all that were moved.

    Only parameters: buffers and other tensors that a constructor computes keep their values, which the
    meta device as default would lose.
    """
    register = nn.Module.register_parameter
    known: dict[int, _Moved] = {}
    moved: list[_Moved] = []

    def register_on_meta(self: nn.Module, name: str, param: nn.Parameter | None) -> None:
        register(self, name, param)
        if param is None or param.is_meta or nn.parameter.is_lazy(param):
            return
        if type(param) is not nn.Parameter:
            return
        item = known.get(id(param))
        if item is None or item.original() is not param:
            shadow = nn.Parameter(param.detach().to("meta"), requires_grad=param.requires_grad)
            item = _Moved(weakref.ref(param), StorageWeakRef(param.untyped_storage()), shadow)
            known[id(param)] = item
            moved.append(item)
        self._parameters[name] = item.shadow

    nn.Module.register_parameter = register_on_meta
    try:
        yield moved
    finally:
        nn.Module.register_parameter = register


def _on_meta(module: nn.Module) -> str:
    """Name the first tensor without values in a module; empty if all have theirs."""
    for path, child in module.named_modules():
        for name, value in vars(child).items():
            if name in {"_parameters", "_buffers"}:
                for key, tensor in value.items():
                    if tensor is not None and tensor.is_meta:
                        return f"{path}.{key}".lstrip(".")
            elif name != "_modules" and _holds_meta(value, 4):
                return f"{path}.{name}".lstrip(".")
    return ""


def _holds_meta(value: Any, depth: int) -> bool:
    if isinstance(value, torch.Tensor):
        return bool(value.is_meta)
    if depth == 0 or isinstance(value, nn.Module):
        return False
    if isinstance(value, dict):
        return any(_holds_meta(item, depth - 1) for item in value.values())
    if isinstance(value, list | tuple | set):
        return any(_holds_meta(item, depth - 1) for item in value)
    return (
        hasattr(value, "__dict__")
        and not isinstance(value, type)
        and any(_holds_meta(item, depth - 1) for item in vars(value).values())
    )


def _from_program(model: Model) -> nn.Module:
    path = str(model.program)
    if not os.path.isfile(path):
        raise ModelError(f"there is no file {path}", where="model.program")
    with user_code(f"{path} cannot be read as a program of torch.export"):
        module = torch.export.load(path).module()
    if model.weights is not None:
        load_state(module, read_state(model.weights), model.weights, assign=False)
    return module


def _from_huggingface(model: Model) -> nn.Module:
    folder = str(model.huggingface)
    config = os.path.join(folder, "config.json")
    if not os.path.isfile(config):
        raise ModelError(
            f"{folder} has no config.json",
            where="model.huggingface",
            hint="name a folder that model.save_pretrained() wrote",
        )
    try:
        import transformers
    except ImportError as error:
        raise ModelError(
            "a `huggingface` model needs the package transformers",
            where="model.huggingface",
            hint="pip install 'onnxbuild[huggingface]'",
        ) from error
    with open(config, encoding="utf-8") as file:
        architectures = json.load(file).get("architectures") or []
    kind = getattr(transformers, architectures[0], None) if architectures else None
    if kind is None:
        named = f"the architecture {architectures[0]!r}" if architectures else "no architecture"
        raise ModelError(
            f"{config} names {named}, which transformers {transformers.__version__} does not have",
            where="model.huggingface",
            hint="code that comes with a model is not run; write an entry that builds it",
        )
    with user_code(f"transformers cannot load {folder}"):
        module = kind.from_pretrained(folder, local_files_only=True)
    if getattr(module.config, "use_cache", False):
        # Keys and values for the next token are no tensors but objects, and no use without an input for them.
        say("use_cache is off: keys and values of attention are no outputs")
        module.config.use_cache = False
    if model.weights is not None:
        load_state(module, read_state(model.weights), model.weights, assign=False)
    return _checked(module, folder)
