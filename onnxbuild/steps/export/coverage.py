"""Where each tensor of the model's state went: in the graph bit for bit, or why not (law 11)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import onnx_ir as ir
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter
from torch.utils.weak import WeakIdKeyDictionary

from onnxbuild.core.digest import digest_bytes
from onnxbuild.graph.load import model_nodes
from onnxbuild.graph.weights import digest, weights
from onnxbuild.steps.model.tensors import to_bytes, to_numpy

KINDS = ("tied", "transposed", "reshaped", "cast", "folded", "unused")
"""What can have become of a tensor that is not in the graph bit for bit."""


def cover(
    state: Mapping[str, torch.Tensor], model: ir.Model, run: Callable[[], object]
) -> dict[str, Any]:
    """Say of each tensor of `state` where it is in the graph.

    ``exact`` counts those that are there bit for bit. The others are listed: ``tied`` (one of the same
    storage is there), ``transposed``, ``reshaped``, ``cast``, ``folded`` into other constants, ``unused``: nothing that
    `run` gives on the traced sample depends on it.
    """
    there = set(_constants(model))
    shapes = {(dtype, shape) for dtype, shape, _ in there}
    flat = {(dtype, int(np.prod(shape)), text) for dtype, shape, text in there}
    sizes = {(dtype, size) for dtype, size, _ in flat}
    found: dict[str, list[str]] = {kind: [] for kind in KINDS}
    exact = 0
    open_: dict[str, torch.Tensor] = {}
    storages: set[tuple[int, torch.Size]] = set()
    for name, tensor in state.items():
        storage = (tensor.data_ptr(), tensor.shape)
        if storage in storages and tensor.numel():
            found["tied"].append(name)
        elif _key(tensor, shapes) in there:
            exact += 1
            storages.add(storage)
        elif tensor.dim() > 1 and _key(tensor.transpose(-1, -2), shapes) in there:
            found["transposed"].append(name)
        elif _is_reshaped(tensor, flat, sizes):
            found["reshaped"].append(name)
        elif _is_cast(tensor, there):
            found["cast"].append(name)
        else:
            open_[name] = tensor
    used = _used(open_, run) if open_ else set()
    for name in open_:
        found["folded" if name in used else "unused"].append(name)
    return {"tensors": len(state), "exact": exact} | {
        key: names for key, names in found.items() if names
    }


def state_of(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Give the tensors of a module's state dict, themselves and not copies."""
    return {
        name: value
        for name, value in model.state_dict(keep_vars=True).items()
        if isinstance(value, torch.Tensor)
    }


Key = tuple[ir.DataType, tuple[int, ...], str]


def _constants(model: ir.Model) -> Iterator[Key]:
    for value in weights(model):
        if value.const_value is not None:
            yield _tensor_key(value.const_value)
    for node in model_nodes(model):
        for attribute in node.attributes.values():
            if not attribute.is_ref() and attribute.type == ir.AttributeType.TENSOR:
                yield _tensor_key(attribute.as_tensor())


def _tensor_key(tensor: ir.TensorProtocol) -> Key:
    return tensor.dtype, tuple(int(size) for size in tensor.shape.dims), digest(tensor)


def _key(tensor: torch.Tensor, shapes: set[tuple[ir.DataType, tuple[int, ...]]]) -> Key | None:
    """Give a tensor's key, without reading it where no constant has its type and shape."""
    dtype, shape = _dtype(tensor), tuple(tensor.shape)
    if dtype is None or (dtype, shape) not in shapes:
        return None
    return dtype, shape, digest_bytes(to_bytes(tensor).data)


def _dtype(tensor: torch.Tensor) -> ir.DataType | None:
    try:
        return ir.DataType.from_numpy(to_numpy(tensor[:0] if tensor.dim() else tensor).dtype)
    except TypeError:
        return None


def _is_reshaped(
    tensor: torch.Tensor,
    flat: set[tuple[ir.DataType, int, str]],
    sizes: set[tuple[ir.DataType, int]],
) -> bool:
    dtype = _dtype(tensor)
    if dtype is None or tensor.numel() < 2 or (dtype, tensor.numel()) not in sizes:  # noqa: PLR2004
        return False
    return (dtype, tensor.numel(), digest_bytes(to_bytes(tensor).data)) in flat


def _is_cast(tensor: torch.Tensor, there: set[Key]) -> bool:
    dtypes = {dtype for dtype, shape, _ in there if shape == tuple(tensor.shape)}
    for dtype in dtypes - {_dtype(tensor)}:
        array = to_numpy(tensor)
        with np.errstate(all="ignore"):
            cast = np.ascontiguousarray(array.astype(dtype.numpy()))
        if (
            dtype,
            tuple(tensor.shape),
            digest_bytes(cast.reshape(-1).view(np.uint8).data),
        ) in there:
            return True
    return False


class _Flow(TorchDispatchMode):  # type: ignore[misc]
    """Follows tensors of the state through all operators of a run."""

    def __init__(self, state: Mapping[str, torch.Tensor]) -> None:
        super().__init__()
        self.escaped: set[str] = set()
        """Names of tensors whose values Python code has looked at."""
        self._tensors: Any = WeakIdKeyDictionary()
        self._storages: dict[int, set[str]] = {}
        for name, tensor in state.items():
            self._mark(tensor, {name})

    def names(self, values: Any) -> set[str]:
        """Name the tensors of the state that `values` depend on."""
        found: set[str] = set()
        for item in tree_iter(values):
            if isinstance(item, torch.Tensor):
                found |= self._tensors.get(item, set())
                found |= self._storages.get(item.untyped_storage().data_ptr(), set())
        return found

    def _mark(self, tensor: torch.Tensor, names: set[str]) -> None:
        pointer = tensor.untyped_storage().data_ptr()
        self._storages[pointer] = self._storages.get(pointer, set()) | names

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        names = self.names((args, kwargs))
        result = func(*args, **(kwargs or {}))
        if not names:
            return result
        tensors = [item for item in tree_iter(result) if isinstance(item, torch.Tensor)]
        for tensor in tensors:
            self._tensors[tensor] = names
            if func._schema.is_mutable:
                # What was written into may be a view of something else.
                self._mark(tensor, names)
        if not tensors:
            self.escaped |= names
        return result


def _used(state: Mapping[str, torch.Tensor], run: Callable[[], object]) -> set[str]:
    """Name the tensors on which what the model gives depends."""
    flow = _Flow(state)
    with torch.no_grad(), flow:
        result = run()
    return flow.names(result) | flow.escaped
