"""Take modules out of wrappers that only training needs, and merge adapters."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import nn
from torch._dynamo import OptimizedModule
from torch.nn.parallel import DistributedDataParallel
from torch.optim.swa_utils import AveragedModel

from onnxbuild.core.values import build
from onnxbuild.errors import ExportError
from onnxbuild.rules.surgery import evaluating, replace_all, shown
from onnxbuild.rules.unwrap.spec import Unwrap

WRAPPERS = {
    nn.DataParallel: "module",
    DistributedDataParallel: "module",
    AveragedModel: "module",
    OptimizedModule: "_orig_mod",
}
"""By class, the attribute that has the module inside."""


def apply(
    model: nn.Module, options: Mapping[str, Any], run: Callable[[nn.Module], object]
) -> tuple[nn.Module, list[str]]:
    """Unwrap what is wrapped in `model`; give it and the paths of wrappers and adapted layers."""
    del run
    build(Unwrap, options)
    found: list[str] = []
    while True:
        # A wrapper may be in another one, and adapters in both.
        with evaluating(model):
            model, paths = replace_all(model, _inside)
        if not paths:
            return model, found
        found += paths


def _inside(path: str, module: nn.Module) -> nn.Module | None:
    for kind, name in WRAPPERS.items():
        if isinstance(module, kind):
            return _checked(path, module, getattr(module, name))
    base = getattr(module, "base_layer", None)
    if not isinstance(base, nn.Module) or not callable(getattr(module, "merge", None)):
        return None
    if not getattr(module, "disable_adapters", False) and not getattr(module, "merged", False):
        module.merge()
    return _checked(path, module, base)


def _checked(path: str, module: nn.Module, inside: Any) -> nn.Module:
    """Give what is inside, if nothing hangs on the wrapper that would be lost."""
    if module._forward_hooks or module._forward_pre_hooks:
        raise ExportError(
            f"the {type(module).__name__} at {shown(path)} has hooks, which would be lost with it",
            where="replace",
            hint="register them on the module inside",
        )
    if not isinstance(inside, nn.Module):
        raise ExportError(
            f"the {type(module).__name__} at {shown(path)} has no module inside", where="replace"
        )
    return inside
