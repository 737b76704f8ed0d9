"""The rule ``module``: what a recipe may say. The work is in `onnxbuild.rules.module.run`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from onnxbuild.recipe.rule import Level, Rule
from onnxbuild.recipe.schema import Entry


@dataclass(frozen=True, slots=True, kw_only=True)
class Module(Rule):
    """Replace every instance of one module class by another.

    Instances of subclasses are left alone. Where ``with`` is a class, it is constructed with those of its
    arguments that the old module has as attributes, and takes over the parameters and buffers of the same name and
    shape. Where it is a function, it gets the old module and returns the new one. Training mode, device and dtype
    stay; a module shared by several places stays shared.
    """

    level: ClassVar[Level] = "module"
    run: ClassVar[str] = "onnxbuild.rules.module.run:apply"

    module: Entry
    """The class whose instances are replaced."""

    with_: Entry
    """The class, or the function of the old module, that gives the new one."""
