"""A recipe's rules over one export: each applied at its level, with account of where it fired."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import onnx_ir as ir
from onnx_ir.passes.common import ShapeInferencePass
from torch import nn

from onnxbuild.recipe.schema import Export
from onnxbuild.steps.export import replace
from onnxbuild.steps.export.automatic import OWN, completed, say_why
from onnxbuild.steps.export.folding import fold
from onnxbuild.steps.export.ways import DYNAMO_LEAST, opset_of


class Rules:
    """The rules of a recipe, and what they have done so far."""

    def __init__(self, rules: Sequence[Mapping[str, Any]]) -> None:
        self._rules = rules
        self._fired: dict[str, dict[str, Any]] = {}
        self._helped: list[dict[str, Any]] = []
        self._automatic: list[dict[str, Any]] = []

    @property
    def fired(self) -> list[str]:
        """Names of the recipe's rules that have replaced something, in order."""
        fired = self._fired
        return [r["name"] for r in self._rules if fired.get(r["name"], {}).get("count")]

    @property
    def helpers(self) -> list[str]:
        """Names of the rules for modules that have stepped in by themselves."""
        return [item["rule"] for item in self._helped]

    def notes(self) -> dict[str, Any]:
        """Give the step's notes: where each rule fired, in the recipe's order."""
        names = [rule["name"] for rule in self._rules]
        found = [self._fired[name] for name in names if name in self._fired]
        found += [*self._helped, *self._automatic]
        return {"rules": found} if found else {}

    def add(self, fired: Sequence[dict[str, Any]]) -> None:
        """Add where rules fired that have stepped in by themselves."""
        self._helped += fired

    def replace_modules(self, model: nn.Module, run: Callable[[nn.Module], object]) -> nn.Module:
        """Apply the module rules, before the export."""
        rules = replace.of_level(self._rules, "module")
        model, fired = replace.replace_modules(model, rules, run)
        self._note(fired)
        return model

    @contextmanager
    def translated(self, exporter: str, export: Export) -> Iterator[None]:
        """Have an exporter use the operator rules inside of the block."""
        rules = replace.of_level(self._rules, "operator")
        opset = opset_of(export)
        opset = max(opset, DYNAMO_LEAST) if exporter == "dynamo" else opset
        if not rules:
            with self._completed(exporter, opset, export, ()):
                yield
            return
        from onnxbuild.steps.export import operators

        translations = operators.load_translations(rules)
        names = {translation.operator for translation in translations}
        with (
            self._completed(exporter, opset, export, names),
            operators.translated(exporter, translations, opset),
        ):
            yield
        for rule in rules:
            own = [item for item in translations if item.rule == rule["name"]]
            places = [place for item in own for place in operators.describe_places(item)]
            known = ", ".join(item.operator for item in own)
            replace.require(rule, places, f"in what {exporter} met", f"it is for {known}")
            self._note([replace.account(rule, places)])

    @contextmanager
    def _completed(
        self, exporter: str, opset: int, export: Export, own: Collection[str]
    ) -> Iterator[None]:
        """Have built-in rules step in for operators that the exporter cannot translate."""
        self._automatic = []
        with completed(exporter, opset, own, asked=not export.auto_rules) as used:
            yield
        if not used:
            return
        from onnxbuild.steps.export.operators import describe_places

        for name, translation in used.items():
            places = describe_places(translation)
            # It may have left every call, or a module rule has put the operator there, and is told.
            if places and not name.startswith(OWN):
                rule = {"name": translation.rule, "level": "operator"}
                why = say_why(name, exporter, opset)
                self._automatic.append(replace.account(rule, places) | {"why": why})

    def replace_nodes(self, model: ir.Model, *, folded: bool) -> None:
        """Apply the graph rules, after the export. With `folded`, they see constants that are folded."""
        rules = replace.of_level(self._rules, "graph")
        if rules and folded:
            fold(model)
        if rules:
            # TorchScript's graphs tell no ranks but of inputs and outputs, and patterns ask for them.
            ShapeInferencePass()(model)
        self._note(replace.replace_nodes(model, rules))

    def _note(self, fired: Sequence[dict[str, Any]]) -> None:
        self._fired.update({item["rule"]: item for item in fired})
