"""The rule ``unwrap``: what a recipe may say. The work is in `onnxbuild.rules.unwrap.run`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from onnxbuild.recipe.rule import Level, Rule


@dataclass(frozen=True, slots=True, kw_only=True)
class Unwrap(Rule):
    """Take modules out of wrappers that only training needs, and merge adapters into the layers that they adapt.

    Wrappers are ``DataParallel``, ``DistributedDataParallel``, ``AveragedModel`` and what ``torch.compile`` gives; weights lose
    their prefix (``module.``, ``_orig_mod.``). An adapter is a layer with ``base_layer`` and ``merge()``, as peft has them: it is
    merged, if it is not switched off, and the layer itself put in its place.
    """

    level: ClassVar[Level] = "module"
    run: ClassVar[str] = "onnxbuild.rules.unwrap.run:apply"
