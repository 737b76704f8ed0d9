"""Systems of equations of a few unknowns, by elimination that is written out."""

from __future__ import annotations

from typing import Any

import torch

MOST = 16
"""Unknowns: each is a dozen nodes of the graph."""


def inverse(input: torch.Tensor, *, out: Any = None) -> Any:  # noqa: A002
    """Give the inverse of small matrices."""
    if out is not None or not _is_small(input):
        return NotImplemented
    return _eliminate(input, _ones(input))[0]


def solve(A: torch.Tensor, B: torch.Tensor, *, left: bool = True, out: Any = None) -> Any:  # noqa: N803
    """Solve systems of a few unknowns; `B` holds vectors only where it has one dimension less."""
    if out is not None or not left or not _is_small(A) or B.is_complex():
        return NotImplemented
    if B.dim() == 1 or B.dim() == A.dim() - 1:
        return _eliminate(A, B.unsqueeze(-1))[0].squeeze(-1)
    return _eliminate(A, B)[0] if B.dim() == A.dim() else NotImplemented


def slogdet(input: torch.Tensor, *, out: Any = None) -> Any:  # noqa: A002
    """Give the sign of the determinant of small matrices, and the logarithm of its size."""
    if out is not None or not _is_small(input):
        return NotImplemented
    _, pivots, sign = _eliminate(input, input[..., :1])
    sign = sign * pivots.sign().prod(-1)
    return torch.return_types.slogdet((sign, pivots.abs().log().sum(-1)))


def _is_small(matrix: torch.Tensor) -> bool:
    size = _size(matrix)
    return not matrix.is_complex() and isinstance(size, int) and size <= MOST


def _size(matrix: torch.Tensor) -> Any:
    # TorchScript traces sizes as tensors; how many unknowns there are is a number.
    size = matrix.shape[-1]
    return int(size) if isinstance(size, torch.Tensor) else size


def _ones(matrix: torch.Tensor) -> torch.Tensor:
    return torch.eye(_size(matrix), dtype=matrix.dtype, device=matrix.device).expand_as(matrix)


def _eliminate(
    matrix: torch.Tensor, right: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Give the solution, the pivots, and the sign of how rows were swapped: Gauss and Jordan's way, largest pivot first."""
    size = _size(matrix)
    rows = torch.arange(size, device=matrix.device)
    pivots, sign = [], torch.ones_like(matrix[..., 0, 0])
    for step in range(size):
        found = matrix[..., step:, step].abs().argmax(-1, keepdim=True) + step
        order = torch.where(rows == step, found, torch.where(rows == found, step, rows))
        sign = torch.where(found[..., 0] == step, sign, -sign)
        both = torch.cat([matrix, right], dim=-1)
        both = both.gather(-2, order.unsqueeze(-1).expand_as(both))
        row = both[..., step : step + 1, :]
        pivot = row[..., step : step + 1]
        pivots.append(pivot[..., 0, 0])
        others = both - both[..., step : step + 1] * (row / pivot)
        both = torch.where((rows == step).unsqueeze(-1), row / pivot, others)
        matrix, right = both[..., :size], both[..., size:]
    return right, torch.stack(pivots, -1), sign
