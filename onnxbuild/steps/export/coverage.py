"""Where each tensor of the model's state went: in the graph bit for bit, or why not (law 11)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import onnx_ir as ir
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter

from onnxbuild.core.digest import digest_bytes
from onnxbuild.graph.load import model_nodes
from onnxbuild.graph.weights import digest, weights
from onnxbuild.steps.model.tensors import to_bytes, to_numpy


def cover(
    state: Mapping[str, torch.Tensor], model: ir.Model, run: Callable[[], object]
) -> dict[str, Any]:
    """Say of each tensor of `state` where it is in the graph.

    ``exact`` counts those that are there bit for bit. The others are listed: ``tied`` (one of the same
    storage is there), ``transposed``, ``cast``, ``folded`` into other constants, ``unused`` by the model's
    `run` on the traced sample.
    """
    there = set(_constants(model))
    shapes = {(dtype, shape) for dtype, shape, _ in there}
    found: dict[str, list[str]] = {
        "tied": [],
        "transposed": [],
        "cast": [],
        "folded": [],
        "unused": [],
    }
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


class _Watch(TorchDispatchMode):  # type: ignore[misc]
    """Remembers the storages of all tensors that any operator takes."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        for item in tree_iter((args, kwargs)):
            if isinstance(item, torch.Tensor):
                self.seen.add(item.untyped_storage().data_ptr())
        return func(*args, **(kwargs or {}))


def _used(state: Mapping[str, torch.Tensor], run: Callable[[], object]) -> set[str]:
    """Name the tensors that the model touches when it runs."""
    watch = _Watch()
    with torch.no_grad(), watch:
        run()
    return {
        name for name, tensor in state.items() if tensor.untyped_storage().data_ptr() in watch.seen
    }
