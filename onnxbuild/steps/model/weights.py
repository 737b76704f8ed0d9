"""Read a file of weights and put them into a module, with every misfit named."""

from __future__ import annotations

import os
import re
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import nn

from onnxbuild.errors import ModelError
from onnxbuild.recipe.schema import Weights
from onnxbuild.steps.model.user import describe, say

SHOWN = 20
"""Names that an error lists; the rest is a count."""

PICKLES = (".pt", ".pth", ".bin", ".ckpt")


class State(Mapping[str, torch.Tensor]):
    """Tensors by name, each read when it is asked for."""

    def __init__(self, read: Any, names: Mapping[str, str]) -> None:
        self._read = read
        self._names = names

    def __getitem__(self, name: str) -> torch.Tensor:
        return self._read(self._names[name])

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def read_state(weights: Weights) -> State:
    """Open a file of weights. Raises `ModelError` when it holds no state dict where `weights` says."""
    path = weights.path
    if not os.path.isfile(path):
        raise ModelError(f"there is no file {path}", where="model.weights")
    if path.endswith(".safetensors"):
        read, names = _open_safetensors(weights)
    elif path.endswith(PICKLES):
        state = _find_state(_load_pickle(path), weights)
        read, names = state.__getitem__, list(state)
    else:
        raise ModelError(
            f"{path} is neither .safetensors nor one of {', '.join(PICKLES)}", where="model.weights"
        )
    prefix = weights.strip_prefix
    if not prefix:
        return State(read, {name: name for name in names})
    if not any(name.startswith(prefix) for name in names):
        raise ModelError(
            f"no tensor in {path} begins with {prefix!r}",
            where="model.weights.strip_prefix",
            hint=f"the names begin like {', '.join(list(names)[:3])}",
        )
    stripped = {name.removeprefix(prefix): name for name in names}
    if len(stripped) < len(names):
        twice = [n for n, c in Counter(n.removeprefix(prefix) for n in names).items() if c > 1]
        raise ModelError(
            f"without {prefix!r}, several tensors have the same name: {_list(twice)}",
            where="model.weights.strip_prefix",
        )
    return State(read, stripped)


def load_state(model: nn.Module, state: State, weights: Weights, *, assign: bool) -> None:
    """Put `state` into `model`, in the module's own dtypes; tied weights stay tied.

    `assign` makes the file's tensors the module's own instead of copying them. Raises one `ModelError` that
    lists all missing, unexpected and wrongly shaped tensors.
    """
    own = {
        name: value
        for name, value in model.state_dict(keep_vars=True).items()
        if isinstance(value, torch.Tensor)
    }
    ties = _ties(own)
    tensors: dict[str, torch.Tensor] = {}
    misshapen: dict[str, str] = {}
    for name in state:
        tensor, target = state[name], own.get(name)
        if target is not None and not nn.parameter.is_lazy(target):
            if target.shape != tensor.shape and (target.dim(), tensor.numel()) != (0, 1):
                misshapen[name] = (
                    f"{name}: {_shape(tensor)} in the file, {_shape(target)} in the model"
                )
                continue
            if assign:
                tensor = tensor.to(target.dtype)
            if assign and not target.is_meta:
                # What has memory is filled where it is: views of it, and whoever holds it, see that.
                with torch.no_grad():
                    tensor = target.copy_(tensor.reshape(target.shape))
        tensors[name] = tensor
    try:
        result = model.load_state_dict(tensors, strict=False, assign=assign)
    except RuntimeError as error:
        raise ModelError(
            f"the weights do not fit the model: {describe(error)}", where=weights.path
        ) from error
    loaded = set(tensors) - set(result.unexpected_keys)
    missing = [
        name
        for name in result.missing_keys
        if name not in misshapen and not loaded & ties.get(name, set())
    ]
    unexpected = list(result.unexpected_keys)
    if misshapen or not loaded or (weights.strict and (missing or unexpected)):
        raise _misfit(weights, missing, unexpected, misshapen)
    for word, names in (("missing", missing), ("unexpected", unexpected)):
        if names:
            say(f"weights {word} ({len(names)}): {', '.join(names)}")
    if assign:
        _retie(model, ties, tensors)


def _retie(
    model: nn.Module, ties: Mapping[str, set[str]], tensors: Mapping[str, torch.Tensor]
) -> None:
    """Make the names of one parameter the same parameter again, with the value that came last, as copying would."""
    done: set[str] = set()
    for name, names in ties.items():
        given = [other for other in tensors if other in names]
        if name in done or not given:
            continue
        done |= names
        source = _get(model, given[-1])
        for other in names:
            owner, _, attribute = other.rpartition(".")
            module = model.get_submodule(owner)
            table = module._parameters if attribute in module._parameters else module._buffers
            table[attribute] = source


def _get(model: nn.Module, name: str) -> torch.Tensor:
    owner, _, attribute = name.rpartition(".")
    return getattr(model.get_submodule(owner), attribute)


def _ties(own: Mapping[str, torch.Tensor]) -> dict[str, set[str]]:
    by_identity: dict[int, set[str]] = {}
    for name, tensor in own.items():
        by_identity.setdefault(id(tensor), set()).add(name)
    return {
        name: names for names in by_identity.values() if len(names) > 1 for name in sorted(names)
    }


def _open_safetensors(weights: Weights) -> tuple[Any, list[str]]:
    from safetensors import SafetensorError, safe_open

    if weights.key is not None:
        raise ModelError(
            "a .safetensors file is not nested, so `key` says nothing", where="model.weights.key"
        )
    try:
        # Never closed: the tensors are views of the mapped file.
        file = safe_open(weights.path, framework="pt")
    except SafetensorError as error:
        raise ModelError(
            f"{weights.path} is damaged, or no safetensors file: {error}", where="model.weights"
        ) from error
    return file.get_tensor, list(file.keys())  # type: ignore[no-untyped-call]


def _load_pickle(path: str) -> Any:
    from pickle import UnpicklingError

    try:
        with warnings.catch_warnings():
            # The error that follows says more.
            warnings.filterwarnings("ignore", message=".*looks like a TorchScript archive.*")
            return _load_mapped(path)
    except (UnpicklingError, EOFError, RuntimeError, ValueError) as error:
        raise _unreadable(path, error) from error


def _load_mapped(path: str) -> Any:
    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except RuntimeError as error:
        if "mmap" not in str(error):
            raise
        # Files of torch < 1.6 are no zip archives and cannot be mapped.
        return torch.load(path, map_location="cpu", weights_only=True)


def _unreadable(path: str, error: Exception) -> ModelError:
    """Say what torch.load stumbled over, without its advice to run the code in the file."""
    text = str(error)
    if "TorchScript" in text:
        what = f"{path} is a TorchScript model, and no file of weights"
        hint = "make it the model: an `entry` that returns torch.jit.load(path)"
    elif found := re.search(r"\bGLOBAL (\S+)", text):
        what = f"{path} holds {found[1]}, whose code would run when it is read"
        hint = (
            "weights are read with weights_only, which refuses that; save the state dict alone: "
            "torch.save(model.state_dict(), path)"
        )
    else:
        reason = text.strip().splitlines()[0].split(". ")[0] if text.strip() else "it ends early"
        what = f"{path} is damaged, cut off, or no file that torch.save wrote: {reason}"
        hint = "save it again, or fetch it again"
    return ModelError(what, where="model.weights", hint=hint)


def _find_state(content: Any, weights: Weights) -> Mapping[str, torch.Tensor]:
    where = "model.weights.key"
    found = content
    walked: list[str] = []
    for part in weights.key.split(".") if weights.key else ():
        if not isinstance(found, Mapping) or part not in found:
            inside = f"{'.'.join(walked)!r} of " if walked else ""
            keys = _list(str(k) for k in found) if isinstance(found, Mapping) else "no mapping"
            raise ModelError(
                f"there is no {part!r} in {inside}{weights.path}",
                where=where,
                hint=f"it has: {keys}",
            )
        found = found[part]
        walked.append(part)
    if not isinstance(found, Mapping):
        raise ModelError(
            f"{weights.path} holds a {type(found).__name__} there, no state dict", where=where
        )
    state = {str(k): v for k, v in found.items() if isinstance(v, torch.Tensor)}
    if not state:
        nested = _path_to_tensors(found)
        at = ".".join([*walked, *nested])
        raise ModelError(
            f"{weights.path} holds no tensors there, but: {_list(str(key) for key in found)}",
            where=where,
            hint=f"say `key: {at}`" if nested else "name the state dict with `key`",
        )
    return state


def _path_to_tensors(content: Mapping[Any, Any]) -> list[str]:
    """Give the keys that lead to the nearest mapping with tensors in it; none if there is none."""
    level: list[tuple[list[str], Mapping[Any, Any]]] = [([], content)]
    while level:
        inner = [
            ([*keys, str(key)], value)
            for keys, mapping in level
            for key, value in mapping.items()
            if isinstance(value, Mapping)
        ]
        for keys, mapping in inner:
            if any(isinstance(item, torch.Tensor) for item in mapping.values()):
                return keys
        level = inner
    return []


def _misfit(
    weights: Weights,
    missing: list[str],
    unexpected: list[str],
    misshapen: Mapping[str, str],
) -> ModelError:
    lines = [f"the weights in {weights.path} do not fit the model"]
    if missing:
        lines.append(f"  missing ({len(missing)}): {_list(missing)}")
    if unexpected:
        lines.append(f"  unexpected ({len(unexpected)}): {_list(unexpected)}")
    if misshapen:
        lines.append(f"  wrong shape ({len(misshapen)}): {_list(misshapen.values(), '; ')}")
    return ModelError(
        "\n".join(lines), where="model.weights", hint=_hint(missing, unexpected, bool(misshapen))
    )


def _hint(missing: list[str], unexpected: list[str], misshapen: bool) -> str:
    in_file = _prefix(unexpected, missing)
    if in_file:
        return f"the file's names have a prefix: say `strip_prefix: {in_file}`"
    in_model = _prefix(missing, unexpected)
    if in_model:
        return (
            f"the model's names begin with {in_model!r} and the file's do not: load the weights into the "
            f"inner module, or return that module from the entry"
        )
    if misshapen:
        return "check `kwargs`: the model has another size than the one that was saved"
    return "say `strict: false` to load what fits"


def _prefix(longer: Iterable[str], shorter: Iterable[str]) -> str:
    """Give what must be taken off most of `longer` to give names of `shorter`; empty if nothing does."""
    wanted = set(shorter)
    count: Counter[str] = Counter()
    total = 0
    for name in longer:
        total += 1
        parts = name.split(".")
        for index in range(1, len(parts)):
            if ".".join(parts[index:]) in wanted:
                count[".".join(parts[:index]) + "."] += 1
    best, hits = count.most_common(1)[0] if count else ("", 0)
    return best if hits * 2 > total else ""


def _shape(tensor: torch.Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "scalar"


def _list(names: Iterable[str], separator: str = ", ") -> str:
    names = list(names)
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return separator.join(names[:SHOWN]) + more
