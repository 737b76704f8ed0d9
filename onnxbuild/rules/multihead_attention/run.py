"""Compute multi-head attention by plain products and a softmax.

As in "Attention Is All You Need" (arXiv:1706.03762), section 3.2.2, with the masks of torch's own function:
``softmax(q k^T / sqrt(d) + mask) v`` in each head.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from onnxbuild.core.values import build
from onnxbuild.rules.calls import replace_calls
from onnxbuild.rules.multihead_attention.spec import MultiheadAttention

SIGNATURE = inspect.signature(functional.multi_head_attention_forward)


def apply(
    model: nn.Module, options: Mapping[str, Any], run: Callable[[nn.Module], object]
) -> tuple[nn.Module, list[str]]:
    """Replace multi-head attention in `model`; give it and where it was."""
    build(MultiheadAttention, options)
    return replace_calls(model, {functional.multi_head_attention_forward: attend}, run)


def attend(*args: Any, **kwargs: Any) -> Any:
    """Give what ``torch.nn.functional.multi_head_attention_forward`` gives in eval mode."""
    bound = SIGNATURE.bind(*args, **kwargs)
    bound.apply_defaults()
    given = SimpleNamespace(**bound.arguments)
    if given.static_k is not None or given.static_v is not None:
        return NotImplemented
    if given.training and given.dropout_p:
        return NotImplemented
    is_batched = given.query.dim() == 3  # noqa: PLR2004 - length, batch, features
    if not is_batched:
        for name in ("query", "key", "value"):
            setattr(given, name, getattr(given, name).unsqueeze(1))
        if given.key_padding_mask is not None:
            given.key_padding_mask = given.key_padding_mask.unsqueeze(0)
    heads, size = given.num_heads, given.embed_dim_to_check // given.num_heads
    q, k, v = _project(given)
    masks = _masks(given)
    for row_k, row_v in _more_rows(given, k):
        k, v = torch.cat([k, row_k]), torch.cat([v, row_v])
        masks = [functional.pad(mask, (0, 1)) for mask in masks]
    q, k, v = _split(q, heads, size), _split(k, heads, size), _split(v, heads, size)
    scores = torch.matmul(q * math.sqrt(1.0 / size), k.transpose(-2, -1))
    for mask in masks:
        scores = scores + _added(mask, scores.dtype)
    shares = torch.softmax(scores, -1)
    if masks and not given.need_weights:
        # Where all is masked torch gives zeros; asked for the weights, NaN. Not by isinf, which opset 9 lacks.
        is_empty = scores.amax(-1, keepdim=True) < torch.finfo(scores.dtype).min
        shares = torch.where(is_empty, torch.zeros_like(shares), shares)
    joined = torch.matmul(shares, v).permute(2, 0, 1, 3).flatten(2)
    result = functional.linear(joined, given.out_proj_weight, given.out_proj_bias)
    result = result if is_batched else result.squeeze(1)
    if not given.need_weights:
        return result, None
    shares = shares.mean(1) if given.average_attn_weights else shares
    return result, shares if is_batched else shares.squeeze(0)


def _project(given: SimpleNamespace) -> list[torch.Tensor]:
    """Give queries, keys and values from what the layer was given."""
    if given.use_separate_proj_weight:
        weights = (given.q_proj_weight, given.k_proj_weight, given.v_proj_weight)
    else:
        weights = given.in_proj_weight.chunk(3)
    bias = given.in_proj_bias
    biases = (None, None, None) if bias is None else bias.chunk(3)
    values = (given.query, given.key, given.value)
    return [functional.linear(*item) for item in zip(values, weights, biases, strict=True)]


def _masks(given: SimpleNamespace) -> list[torch.Tensor]:
    """Give the masks, with axes that go with (batch, heads, queries, keys)."""
    mask = given.attn_mask
    if given.is_causal and given.key_padding_mask is None and not given.need_weights:
        # Torch does not look at the mask then. By comparison, since opsets below 14 have no triangles.
        rows = torch.arange(given.query.shape[0], device=given.query.device)[:, None]
        mask = torch.arange(given.key.shape[0], device=given.query.device)[None, :] > rows
    if mask is not None and mask.dim() == 3:  # noqa: PLR2004 - one for each batch and head
        mask = mask.reshape(-1, given.num_heads, *mask.shape[1:])
    padding = given.key_padding_mask
    masks = (mask, None if padding is None else padding[:, None, None, :])
    return [item for item in masks if item is not None]


def _split(value: torch.Tensor, heads: int, size: int) -> torch.Tensor:
    """Make (length, batch, features) one matrix for each batch and head."""
    length, batch, _ = value.shape
    return value.reshape(length, batch, heads, size).permute(1, 2, 0, 3)


def _more_rows(
    given: SimpleNamespace, keys: torch.Tensor
) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Give the rows that are added to keys and values, for each batch the same."""
    rows = []
    if given.bias_k is not None and given.bias_v is not None:
        batch = keys.shape[1]
        rows.append((given.bias_k.expand(-1, batch, -1), given.bias_v.expand(-1, batch, -1)))
    if given.add_zero_attn:
        nothing = torch.zeros_like(keys[:1])
        rows.append((nothing, nothing))
    return rows


def _added(mask: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Give a mask as what is added to the scores; True is what is not to be seen."""
    if mask.dtype is not torch.bool:
        return mask
    return torch.zeros_like(mask, dtype=dtype).masked_fill(mask, float("-inf"))
