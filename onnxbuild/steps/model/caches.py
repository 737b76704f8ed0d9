"""The caches of keys and values that models of transformers take and give, as tensors by layer and back.

A layer's tensors are called ``key`` and ``value``; where a decoder has caches of both its own tokens and the
encoder's, ``decoder.key`` and ``encoder.key``. Other states of a layer have the names of their attributes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import torch
from torch import nn

from onnxbuild.errors import ModelError

PARAMETER = "past_key_values"
"""What models of transformers call the cache that they take."""

Layers: TypeAlias = Sequence[Mapping[str, Any]]

KEYS = ("key", "value")
BOTH = ("decoder.key", "decoder.value", "encoder.key", "encoder.value")


def is_cache(kind: Any) -> bool:
    """Tell whether a type is one of transformers' caches."""
    return isinstance(kind, type) and any(
        base.__name__ == "Cache" and base.__module__.startswith("transformers.")
        for base in kind.__mro__
    )


def is_transformer(model: nn.Module) -> bool:
    """Tell whether a model is one of transformers'."""
    return any(
        base.__name__ == "PreTrainedModel" and base.__module__.startswith("transformers.")
        for base in type(model).__mro__
    )


def flatten_cache(cache: Any) -> Iterator[tuple[tuple[str | int, ...], torch.Tensor]]:
    """Give each tensor of a cache with its layer and its name there."""
    own, cross = (getattr(cache, f"{kind}_attention_cache", None) for kind in ("self", "cross"))
    if own is None:
        for number, layer in enumerate(_layers(cache)):
            yield from (((number, name), tensor) for name, tensor in layer.items())
        return
    # By layer, as an encoder-decoder is named everywhere.
    encoded = [] if cross is None else _layers(cross)
    for number, layer in enumerate(_layers(own)):
        yield from (((number, "decoder", name), tensor) for name, tensor in layer.items())
        if number < len(encoded):
            for name, tensor in encoded[number].items():
                yield (number, "encoder", name), tensor


def _layers(cache: Any) -> list[dict[str, torch.Tensor]]:
    if not hasattr(cache, "layers"):
        # transformers before 4.54.
        pairs = zip(cache.key_cache, cache.value_cache, strict=True)
        return [dict(zip(KEYS, pair, strict=True)) for pair in pairs]
    return [_tensors(layer) for layer in cache.layers]


def _tensors(layer: Any) -> dict[str, torch.Tensor]:
    found: dict[str, torch.Tensor] = {}
    for name, value in vars(layer).items():
        short = {"keys": "key", "values": "value"}.get(name, name)
        if isinstance(value, torch.Tensor) and not name.startswith("_"):
            found[short] = value
        elif isinstance(value, list | tuple | dict):
            items = value.items() if isinstance(value, dict) else enumerate(value)
            tensors = {key: item for key, item in items if isinstance(item, torch.Tensor)}
            # One state of a kind needs no number.
            is_single = list(tensors) == [0]
            found |= {
                short if is_single else f"{short}.{key}": item for key, item in tensors.items()
            }
    return found


def maker(
    layers: Layers, kind: Any, path: str
) -> Callable[[Sequence[Mapping[str, torch.Tensor]]], Any]:
    """Give a function that makes a cache of the tensors of its layers. Raises `ModelError` for other names."""
    wanted = BOTH if any("." in name for name in layers[0]) else KEYS
    for number, layer in enumerate(layers):
        if sorted(layer) != sorted(wanted):
            raise ModelError(
                f"layer {number} of {path!r} has {', '.join(layer)}, and a cache that can be given is made of "
                f"{', '.join(wanted)}",
                where=f"inputs.{path}.{number}",
                hint="other states need a module around the model that makes them: `model.wrap: file.py:Module`",
            )
    import transformers

    both = transformers.EncoderDecoderCache
    if wanted is KEYS:
        # An encoder-decoder without the encoder's half: its first step.
        is_half = isinstance(kind, type) and issubclass(kind, both)
        if not is_half:
            return lambda values: _make(transformers, values, "")
        return lambda values: both(_make(transformers, values, ""), transformers.DynamicCache())
    return lambda values: both(
        _make(transformers, values, "decoder."),
        _make(transformers, values, "encoder."),
    )


def _make(transformers: Any, values: Sequence[Mapping[str, torch.Tensor]], prefix: str) -> Any:
    """Make a cache whose layers keep all that they are given.

    Also where attention looks at a window of it only: the mask sees to that. Layers that drop what is older count in
    Python how much they have dropped, and no tensor says it to the next step.
    """
    cache = transformers.DynamicCache()
    for number, layer in enumerate(values):
        key, value = layer[f"{prefix}key"], layer[f"{prefix}value"]
        if not hasattr(cache, "layers"):
            cache.update(key, value, number)
            continue
        # Not `update`: it joins them to an empty tensor of one axis, which ONNX cannot.
        made = transformers.cache_utils.DynamicLayer()
        made.keys, made.values = key, value
        made.dtype, made.device, made.is_initialized = key.dtype, key.device, True
        cache.layers.append(made)
    return cache
