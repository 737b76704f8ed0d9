"""Arrays as torch tensors and back, bit for bit; bfloat16 too, which numpy has through ml_dtypes."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import torch


def to_torch(array: np.ndarray[Any, Any]) -> torch.Tensor:
    """Copy an array into a tensor."""
    if array.dtype == ml_dtypes.bfloat16:
        return torch.from_numpy(np.array(array).view(np.uint16)).view(torch.bfloat16)
    return torch.from_numpy(np.array(array, order="C"))


def to_numpy(tensor: torch.Tensor) -> np.ndarray[Any, Any]:
    """Give a tensor's values as an array."""
    tensor = tensor.detach().cpu().contiguous()
    array: np.ndarray[Any, Any]
    if tensor.is_conj() or tensor.is_neg():
        tensor = tensor.resolve_conj().resolve_neg()
    if tensor.dtype == torch.bfloat16:
        array = tensor.view(torch.uint16).numpy().view(ml_dtypes.bfloat16)
    else:
        array = tensor.numpy()
    return array


def to_bytes(tensor: torch.Tensor) -> np.ndarray[Any, Any]:
    """Give a tensor's bytes, in the order of its elements."""
    array: np.ndarray[Any, Any] = (
        tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
    )
    return array
