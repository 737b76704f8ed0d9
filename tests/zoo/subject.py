"""One architecture as its recipe has it: the module, inputs of any size, what PyTorch answers.

Reads the recipe's text by itself and shares no code with onnxbuild, so that what it finds right or
wrong does not rest on what onnxbuild believes.
"""

from __future__ import annotations

import importlib.util
import inspect
import itertools
import os
import re
import sys
from collections.abc import Iterator, Mapping
from types import ModuleType
from typing import Any, TypeAlias

import numpy as np
import yaml

HERE = os.path.dirname(os.path.abspath(__file__))
RECIPES = os.path.join(HERE, "recipes")
MODELS = os.path.join(HERE, "models")

Array: TypeAlias = np.ndarray[Any, Any]
Sizes: TypeAlias = dict[str, int]
BETWEEN = 3
"""Shapes that lie between the corners."""


class Subject:
    """A recipe, and the model that it names."""

    def __init__(self, name: str) -> None:
        self.name = name
        with open(os.path.join(RECIPES, f"{name}.yaml"), encoding="utf-8") as file:
            self.recipe: dict[str, Any] = yaml.safe_load(file)
        self.inputs = {key: _input(value) for key, value in _expand(self.recipe["inputs"])}

    @property
    def is_static(self) -> bool:
        """True if its integers come from calibration data."""
        return "data" in self.recipe

    def dims(self) -> dict[str, dict[str, int]]:
        """Give the dynamic dimensions, each with its bounds and example."""
        words = " ".join(str(size) for item in self.inputs.values() for size in item["shape"])
        given = self.recipe.get("dims", {})
        return {
            name: _bounds(given.get(name, {}))
            for name in dict.fromkeys(re.findall(r"[a-z_]+", words))
        }

    def sizes(self) -> list[tuple[str, Sizes]]:
        """List the example, the corners, and shapes between them."""
        dims = self.dims()
        example = {name: bounds["example"] for name, bounds in dims.items()}
        found = [("example", example)]
        for end in ("min", "max"):
            found.append((f"all {end}", {name: bounds[end] for name, bounds in dims.items()}))
            found += [
                (f"{name} {end}", {**example, name: bounds[end]}) for name, bounds in dims.items()
            ]
        generator = np.random.default_rng(3)
        for _ in range(BETWEEN):
            found.append(("between", {name: _draw(b, generator) for name, b in dims.items()}))
        distinct: list[tuple[str, Sizes]] = []
        for label, sizes in found:
            if sizes not in [other for _, other in distinct]:
                distinct.append((label, sizes))
        return distinct

    def feed(self, sizes: Sizes, seed: int = 0) -> dict[str, Array]:
        """Make inputs of these sizes."""
        generator = np.random.default_rng([seed, *sizes.values()])
        feed = {}
        for name, item in self.inputs.items():
            shape = tuple(_size(size, sizes) for size in item["shape"])
            feed[name] = _values(item, shape, generator)
        return feed

    def axes(self) -> dict[str, dict[int, str]]:
        """Give the dynamic axes of each input."""
        return {
            name: {axis: size for axis, size in enumerate(item["shape"]) if isinstance(size, str)}
            for name, item in self.inputs.items()
        }

    def build(self) -> Any:
        """Make the module."""
        return _find(self.recipe["model"]["entry"])()

    def calibration(self) -> Iterator[dict[str, Array]]:
        """Give the recipe's calibration data."""
        entry = self.recipe["data"]["calibration"]
        return iter(_find(entry["entry"])(**entry["kwargs"]))


def names(only: str = "") -> list[str]:
    """List the architectures, or those among `only`."""
    found = sorted(name[: -len(".yaml")] for name in os.listdir(RECIPES) if name.endswith(".yaml"))
    wanted = [word for word in only.split(",") if word]
    unknown = [word for word in wanted if word not in found]
    if unknown:
        raise SystemExit(f"no recipe in {RECIPES} is named {', '.join(unknown)}")
    return wanted or found


def flatten(value: Any) -> list[Any]:
    """Give the tensors of what a model returned, in order."""
    if value is None:
        return []
    if hasattr(value, "to_tuple"):
        return flatten(value.to_tuple())
    if isinstance(value, Mapping):
        return flatten(list(value.values()))
    if isinstance(value, tuple | list):
        return [tensor for item in value for tensor in flatten(item)]
    return [value]


def answers(subject: Subject) -> list[tuple[str, dict[str, Array], list[Array]]]:
    """Run the model at each size: label, inputs, outputs. It is made anew each time: some remember earlier sizes."""
    import torch

    found = []
    for label, sizes in subject.sizes():
        model = subject.build()
        feed = subject.feed(sizes)
        with torch.no_grad():
            given = flatten(
                model(**{name: torch.from_numpy(value) for name, value in feed.items()})
            )
        words = ", ".join(f"{name} {size}" for name, size in sizes.items())
        found.append((f"{label} ({words})", feed, [tensor.numpy().copy() for tensor in given]))
    return found


def load(stem: str) -> ModuleType:
    """Load a file of ``models/`` once, by a name that no other test's modules have."""
    name = f"zoo_models_{stem}"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, os.path.join(MODELS, f"{stem}.py"))
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        # The families import each other by their bare names.
        sys.path.insert(0, MODELS)
        try:
            spec.loader.exec_module(module)
        finally:
            sys.path.remove(MODELS)
        sys.modules[name] = module
    return sys.modules[name]


def _find(entry: str) -> Any:
    path, _, function = entry.partition(":")
    return getattr(load(os.path.basename(path).removesuffix(".py")), function)


def _expand(inputs: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Write out `{expand: "{0..1}.{key,value}", …}`."""
    for name, item in inputs.items():
        if not isinstance(item, Mapping) or "expand" not in item:
            yield name, item
            continue
        choices = []
        for part in re.findall(r"\{([^}]*)\}", item["expand"]):
            first, dots, last = part.partition("..")
            choices.append(
                [*map(str, range(int(first), int(last) + 1))] if dots else part.split(",")
            )
        for words in itertools.product(*choices):
            yield f"{name}.{'.'.join(words)}", item


def _input(item: Any) -> dict[str, Any]:
    return {"dtype": "float32", **({"shape": item} if isinstance(item, list) else item)}


def _bounds(dim: Mapping[str, int]) -> dict[str, int]:
    multiple = dim.get("multiple_of", 1)
    least = -(-max(dim.get("min", 1), 0) // multiple) * multiple
    example = dim.get("example", max(2, least))
    return {
        "min": least,
        "max": dim.get("max", 2 * example + 1) // multiple * multiple,
        "example": min(example, dim.get("max", example)),
        "multiple": multiple,
    }


def _draw(bounds: Mapping[str, int], generator: np.random.Generator) -> int:
    multiple = bounds["multiple"]
    return multiple * int(
        generator.integers(bounds["min"] // multiple, bounds["max"] // multiple + 1)
    )


def _size(size: int | str, sizes: Sizes) -> int:
    # The recipes are ours, and arithmetic is all that they have.
    return size if isinstance(size, int) else int(eval(size, {"__builtins__": {}}, dict(sizes)))


def _values(
    item: Mapping[str, Any], shape: tuple[int, ...], generator: np.random.Generator
) -> Array:
    dtype = np.dtype(item["dtype"])
    if "values" in item:
        make = _find(item["values"])
        assert len(inspect.signature(make).parameters) == 2
        return np.asarray(make(shape, generator), dtype)
    if "fill" in item:
        return np.full(shape, item["fill"], dtype)
    low, high = item.get("range", (0, 2))
    if dtype.kind in "iub":
        return generator.integers(low, high, shape).astype(dtype)
    if "range" in item:
        return generator.uniform(low, high, shape).astype(dtype)
    return generator.standard_normal(shape).astype(dtype)
