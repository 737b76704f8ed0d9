"""A recipe's rules over one export: each applied at its level, with account of where it fired."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import onnx_ir as ir
from torch import nn

from onnxbuild.recipe.schema import Export
from onnxbuild.steps.export import replace
from onnxbuild.steps.export.cures import cure
from onnxbuild.steps.export.folding import fold
from onnxbuild.steps.export.ways import DEFAULT_OPSET, DYNAMO_LEAST


class Rules:
    """The rules of a recipe, and what they have done so far."""

    def __init__(self, rules: Sequence[Mapping[str, Any]]) -> None:
        self._rules = rules
        self._fired: dict[str, dict[str, Any]] = {}
        self._cured: list[dict[str, Any]] = []

    def notes(self) -> dict[str, Any]:
        """Give the step's notes: where each rule fired, in the recipe's order."""
        names = [rule["name"] for rule in self._rules]
        found = [self._fired[name] for name in names if name in self._fired]
        found += self._cured
        return {"rules": found} if found else {}

    def replace_modules(self, model: nn.Module, run: Callable[[nn.Module], object]) -> nn.Module:
        """Apply the module rules, before the export."""
        rules = replace.of_level(self._rules, "module")
        model, fired = replace.replace_modules(model, rules, run)
        self._note(fired)
        return model

    def cure(
        self, model: nn.Module, exporter: str, run: Callable[[nn.Module], object], why: str
    ) -> bool:
        """Apply built-in module rules that help an exporter which has failed; tell whether there are any."""
        known = [rule["run"] for rule in self._rules]
        self._cured = cure(model, exporter, known, run, why)
        return bool(self._cured)

    @contextmanager
    def translated(self, exporter: str, export: Export) -> Iterator[None]:
        """Have an exporter use the operator rules inside of the block."""
        rules = replace.of_level(self._rules, "operator")
        if not rules:
            yield
            return
        from onnxbuild.steps.export import operators

        opset = export.opset or DEFAULT_OPSET
        opset = max(opset, DYNAMO_LEAST) if exporter == "dynamo" else opset
        translations = operators.load_translations(rules)
        with operators.translated(exporter, translations, opset):
            yield
        for rule in rules:
            own = [item for item in translations if item.rule == rule["name"]]
            places = [place for item in own for place in operators.describe_places(item)]
            known = ", ".join(item.operator for item in own)
            replace.require(rule, places, f"in what {exporter} met", f"it is for {known}")
            self._note([replace.account(rule, places)])

    def replace_nodes(self, model: ir.Model, *, folded: bool) -> None:
        """Apply the graph rules, after the export. With `folded`, they see constants that are folded."""
        rules = replace.of_level(self._rules, "graph")
        if rules and folded:
            fold(model)
        self._note(replace.replace_nodes(model, rules))

    def _note(self, fired: Sequence[dict[str, Any]]) -> None:
        self._fired.update({item["rule"]: item for item in fired})
