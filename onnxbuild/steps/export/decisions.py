"""Where a model turns values of its inputs into Python's: what a trace would keep as it was in the example.

TorchScript's exporter traces. A branch on ``x.max() > 0``, or a length taken with ``int(n)``, becomes what
the example made of it, and as long as every sample goes the same way no comparison shows it. Its warning of
that is the same as for sizes, which samples do vary. So the places that it warns of are looked at again in
an eager run, where sizes are plain numbers, and only values that come from the inputs are left.
"""

from __future__ import annotations

import linecache
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from types import FrameType
from typing import Any
from warnings import WarningMessage

import torch
from torch.overrides import TorchFunctionMode
from torch.utils.weak import WeakIdKeyDictionary

import onnxbuild
from onnxbuild.steps.model.adapter import Adapter

CONVERSIONS = frozenset(
    {"__array__", "__bool__", "__complex__", "__float__", "__index__", "__int__", "item", "numpy", "tolist"}
)  # fmt: skip
"""Methods of a tensor that give its values to Python."""

OWN = os.path.dirname(onnxbuild.__file__) + os.sep

WARNS = "Converting a tensor to"
"""How TorchScript's warning of such a conversion begins."""


def find_decisions(
    adapter: Adapter, values: Sequence[torch.Tensor], warned: Iterable[WarningMessage]
) -> list[str]:
    """Give the lines, as ``file:line in function: code``, at which a trace kept values of its inputs.

    `warned` is what tracing the model on `values` warned of; without such a warning nothing is run.
    """
    places = {
        (warning.filename, warning.lineno)
        for warning in warned
        if str(warning.message).startswith(WARNS)
    }
    if not places:
        return []
    with torch.no_grad(), _Watch(values) as watch:
        adapter.run(values)
    return [text for place, text in watch.found if place in places]


class _Watch(TorchFunctionMode):  # type: ignore[misc]
    """Follows what is computed from some tensors, and notes where Python gets to see it."""

    def __init__(self, values: Sequence[torch.Tensor]) -> None:
        super().__init__()
        self.found: dict[tuple[tuple[str, int], str], None] = {}
        """By where Python got to see a value, and the line of the user's that is behind it."""
        self._derived = WeakIdKeyDictionary(dict.fromkeys(values, True))

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        """Call `func`, and mark what it gives and changes if it was given something marked."""
        given = list(_tensors([args, kwargs or {}]))
        is_derived = any(self._is_derived(tensor) for tensor in given)
        name = getattr(func, "__name__", "")
        if is_derived and name in CONVERSIONS:
            self._note(sys._getframe(1))
        result = func(*args, **(kwargs or {}))
        if is_derived:
            # What changes its first argument says so in its name, or returns it.
            changed = given[:1] if name.endswith("_") else []
            out = list(_tensors((kwargs or {}).get("out")))
            for tensor in (*_tensors(result), *changed, *out):
                self._derived[tensor] = True
                if tensor._base is not None:
                    self._derived[tensor._base] = True
        return result

    def _is_derived(self, tensor: torch.Tensor) -> bool:
        base = tensor._base
        return tensor in self._derived or (base is not None and base in self._derived)

    def _note(self, frame: FrameType) -> None:
        place = frame.f_code.co_filename, frame.f_lineno
        # A rule that answers calls of torch's functions stands in between.
        while frame.f_code.co_filename.startswith(OWN) and frame.f_back is not None:
            frame = frame.f_back
        file, line = frame.f_code.co_filename, frame.f_lineno
        short = file.removeprefix(os.getcwd() + os.sep)
        code = linecache.getline(file, line).strip()
        text = f"{short}:{line} in {frame.f_code.co_name}: {code}".rstrip(": ")
        self.found[place, text] = None


def _tensors(value: Any) -> Iterator[torch.Tensor]:
    """Give the tensors in nested tuples, lists and dicts."""
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, tuple | list):
        for item in value:
            yield from _tensors(item)
    elif isinstance(value, dict):
        for item in value.values():
            yield from _tensors(item)
