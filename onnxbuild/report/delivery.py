"""From measured variants to published ones: judge each, and replace what has changed."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import onnxbuild
from onnxbuild.core import points
from onnxbuild.core.artifact import Artifact
from onnxbuild.core.digest import digest_file, digest_value
from onnxbuild.core.events import Event, Said
from onnxbuild.core.facts import list_folder, name_path, now
from onnxbuild.core.step import Output
from onnxbuild.core.trace import Fact, Trace
from onnxbuild.engine.build import Build
from onnxbuild.engine.code import digest_code
from onnxbuild.engine.publish import BUILD_JSON, is_intact
from onnxbuild.engine.publish import replace as replace_folder
from onnxbuild.errors import OnnxbuildError
from onnxbuild.planner import Plan, Variant
from onnxbuild.recipe.schema import Recipe
from onnxbuild.report.build_json import find_libraries, history, make_build_json
from onnxbuild.report.exceptions import converts, tell_exceptions
from onnxbuild.report.judge import Finding, fidelity_summary, judge
from onnxbuild.report.locating import find_first_bad
from onnxbuild.report.lock import shorten
from onnxbuild.report.locked import Locked
from onnxbuild.report.published import Files, contents_of, is_of, lockable
from onnxbuild.report.result import (
    Fidelity,
    LockedVariant,
    Problem,
    RecipeResult,
    VariantResult,
)
from onnxbuild.report.rules import blame_rules, tell_rules
from onnxbuild.report.sources import compare_sizes
from onnxbuild.report.targets import judge_target
from onnxbuild.stores.database import DamagedCacheError
from onnxbuild.stores.local import LocalStore


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivered:
    """What came of the variants of a build."""

    recipes: Mapping[str, RecipeResult]
    problems: tuple[Problem, ...]
    facts: tuple[Fact, ...]
    """The published files, as they must stay for this answer to stay true."""

    leftover: tuple[str, ...]
    """Folders of variants that earlier states of these recipes have published."""


class Delivery:
    """Judges and publishes the variants of one build."""

    def __init__(
        self,
        plan: Plan,
        build: Build,
        store: LocalStore,
        recipes: Mapping[str, Recipe],
        root: str,
        listen: Callable[[Event], None],
        locks: Mapping[str, Locked] | None = None,
    ) -> None:
        """Take what is to be judged and published; `locks`, by recipe, are what it must keep to."""
        self._plan = plan
        self._build = build
        self._store = store
        self._recipes = recipes
        self._root = root
        self._listen = listen
        self._locks = locks or {}
        self._problems: list[Problem] = []
        self._facts: list[Fact] = []
        self._published: dict[str, tuple[str, Mapping[str, str]]] = {}
        """By folder: the recipe, and the digests of the files."""

    def deliver(self, artifacts: str) -> Delivered:
        """Publish every variant that passed under ``<artifacts>/<recipe>/<variant>/``."""
        recipes: dict[str, dict[str, VariantResult]] = {name: {} for name in self._recipes}
        for variant in self._plan.variants:
            folder = os.path.join(self._root, artifacts, variant.recipe, variant.name)
            try:
                result = self._variant(variant, folder)
            except DamagedCacheError:
                raise
            except OnnxbuildError as error:
                # One variant that cannot be written is no reason to say nothing of the others.
                self._problems.append(_read_problem(variant, error))
                result = _unpublished(variant, folder)
            recipes[variant.recipe][variant.name] = result
        for name, locked in self._locks.items():
            self._facts.append(locked.fact)
            self._problems.extend(_unlocked(self._recipes[name], locked))
        self._note_published()
        leftover = [
            folder
            for name, recipe in self._recipes.items()
            for folder in self._find_leftover(os.path.join(self._root, artifacts, name), recipe)
        ]
        return Delivered(
            recipes={
                name: RecipeResult(name=name, variants=variants)
                for name, variants in recipes.items()
            },
            problems=tuple(self._problems),
            facts=tuple(self._facts),
            leftover=tuple(leftover),
        )

    def _note_published(self) -> None:
        """Have the store know what stands behind published folders: collecting spares that."""
        for folder, (recipe, contents) in self._published.items():
            self._store.note_variant(folder, contents, self._traces_of(recipe))

    def _traces_of(self, recipe: str) -> list[Trace]:
        """Give the traces that the variants of a recipe rest on."""
        return [
            record.trace
            for record in self._build.records
            # Steps that a step answered with are no part of the plan: they count for every recipe.
            if record.trace and recipe in self._plan.owners.get(id(record.step), (recipe,))
        ]

    def _find_leftover(self, folder: str, recipe: Recipe) -> list[str]:
        """Find variants that the recipe does not publish any more: nothing keeps them up to date."""
        place = name_path(folder, self._root, {})
        kind, value = now("listing", place, self._root, {}, {})
        self._facts.append((kind, place, value))
        if kind != "listing":
            return []
        names = [name.rstrip("/") for name in list_folder(folder) if name.endswith("/")]
        return [
            os.path.join(folder, name)
            for name in names
            if name not in recipe.publish and is_of(os.path.join(folder, name), recipe.name, name)
        ]

    def _variant(self, variant: Variant, folder: str) -> VariantResult:
        result = _unpublished(variant, folder)
        # Measurements are read first: a lost one is built again, which may change what is published.
        self._build.ensure(variant.measured)
        model = self._build.results(variant.model)
        exported = self._build.results(variant.exported)
        measured = self._measured(variant)
        source = self._build.results(variant.source)
        if model is None or exported is None or source is None or measured is None:
            return result
        exporting = self._build.trace_of(variant.exported)
        held = judge(
            variant=variant.name,
            precision=variant.precision,
            verify=variant.gates,
            fidelity=measured["fidelity"],
            metric=measured["metric"],
            reference_metric=measured["reference_metric"],
            size=model.size,
            export_size=exported.size,
            source_size=None if variant.source == variant.exported else source.size,
            latency=measured["latency"],
            tokens=measured["tokens"],
            reference_tokens=measured["reference_tokens"],
            export=exporting.notes if exporting else {},
        )
        measured["size"] = compare_sizes(model.size, exported.size, source.size)
        aim = self._recipes[variant.recipe].target
        findings = (*judge_target(aim, measured["fidelity"]["model"]), *held)
        fidelity = Fidelity(**fidelity_summary(measured["fidelity"]), metric=measured["metric"])
        result = replace(
            result,
            fidelity=fidelity,
            metric_name=(variant.gates.metric or "").rpartition(":")[2],
            reference_metric=measured["reference_metric"],
            findings=tuple(findings),
            **self._converted(variant),
            rules=tell_rules(exporting.notes if exporting else {}),
            operators=measured["fidelity"]["model"]["nodes"],
        )
        missed = [item for item in findings if item.level == "gate" and not item.passed]
        if missed:
            missed = blame_rules(missed, exporting.notes if exporting else {})
            missed = find_first_bad(variant, missed, measured["fidelity"], self._build_late)
            self._problems.extend(self._gate_problem(variant, item, result.path) for item in missed)
            return result
        return self._publish(variant, model, result, measured, folder)

    def _converted(self, variant: Variant) -> dict[str, Any]:
        """Say what the nearest stage that converts weights left as it was, and what its search tried."""
        output: Output | None = variant.model
        while output is not None:
            trace = self._build.trace_of(output)
            if trace and converts(trace.notes):
                curve = tuple(trace.notes.get("curve", ()))
                return {"exceptions": tell_exceptions(trace.notes), "curve": curve}
            output = output.step.inputs.get("model")
        return {}

    def _measured(self, variant: Variant) -> dict[str, Any] | None:
        outputs: dict[str, Output | None] = {
            "fidelity": variant.fidelity,
            "latency": variant.latency,
            "metric": variant.metric,
            "reference_metric": variant.reference_metric,
            "tokens": variant.tokens,
            "reference_tokens": variant.reference_tokens,
        }
        values: dict[str, Any] = {}
        for name, output in outputs.items():
            if output is None:
                values[name] = None
                continue
            artifact = self._build.results(output)
            if artifact is None:
                return None
            values[name] = self._read(artifact)
        return values

    def _build_late(self, output: Output) -> Any:
        """Build a step that is not planned, since it is seldom needed, and read what it gives."""
        self._build.add([output.step])
        artifact = self._build.results(output)
        return None if artifact is None else self._read(artifact)

    def _read(self, artifact: Artifact) -> Any:
        if artifact.inline is not None:
            return json.loads(artifact.inline)
        with open(self._store.path(artifact), encoding="utf-8") as file:
            return json.load(file)

    def _publish(
        self,
        variant: Variant,
        model: Artifact,
        result: VariantResult,
        measured: Mapping[str, Any],
        folder: str,
    ) -> VariantResult:
        external = self._recipes[variant.recipe].export.external_data
        written_by = digest_value([external, digest_code("onnxbuild.graph.save")])
        identity = f"{model.digest} {written_by}"
        made = self._store.actions.published(identity)
        text = self._writer(variant, result, measured)
        check = self._checker(variant, self._look_behind(variant, result.fidelity, measured))
        if made is not None:
            check(made)
        contents = {} if made is None else contents_of(made, text(made))
        if made is None or not is_intact(folder, contents, self._build.digest_path):
            self._tell_changed(folder, contents)
            self._build.ensure([variant.model])
            made = self._replace(variant, model, folder, text, check)
            self._store.actions.note_published(identity, made)
        contents = contents_of(made, text(made))
        self._published[folder] = (variant.recipe, contents)
        for name, digest in contents.items():
            place = name_path(os.path.join(folder, name), self._root, {})
            self._facts.append(("file", place, digest))
        return replace(
            result,
            published=True,
            digest=made["model.onnx"][0],
            bytes=sum(size for _, size in made.values()),
            pin=check(made),
        )

    def _writer(
        self, variant: Variant, result: VariantResult, measured: Mapping[str, Any]
    ) -> Callable[[Files], str]:
        """Give what writes build.json for files."""
        return lambda files: make_build_json(
            recipe=self._recipes[variant.recipe],
            variant=variant,
            fidelity=result.fidelity,
            measured=measured,
            findings=result.findings,
            files=files,
            traces=self._traces(),
            version=onnxbuild.__version__,
        )

    def _checker(self, variant: Variant, behind: LockedVariant) -> Callable[[Files], LockedVariant]:
        """Give what says what a lock says of files, or raises `LockError` where it says otherwise."""

        def check(files: Files) -> LockedVariant:
            pin = replace(behind, files=lockable(files))
            if variant.recipe in self._locks:
                self._locks[variant.recipe].check(variant.name, pin)
            return pin

        return check

    def _tell_changed(self, folder: str, contents: Mapping[str, str]) -> None:
        """Say which files of a variant somebody has changed or removed since it was published."""
        noted = self._store.variant(folder)
        if not contents or noted is None or noted.before or noted.contents != contents:
            return
        for name, digest in contents.items():
            path = os.path.join(folder, name)
            if self._build.digest_path(path) != digest:
                state = "is not what was published" if os.path.exists(path) else "is missing"
                self._listen(Said(f"{os.path.relpath(path)} {state}; it is restored"))

    def _look_behind(
        self, variant: Variant, fidelity: Fidelity, measured: Mapping[str, Any]
    ) -> LockedVariant:
        """Write down what a lock says of a variant, but for its files."""
        traces = self._traces()
        behind = [traces[id(step)] for step in history([variant.model]) if id(step) in traces]
        libraries = {"onnxbuild": onnxbuild.__version__, **find_libraries(behind)}
        processors = (trace.ingredients["machine"] for trace in behind)
        return LockedVariant(
            opset=measured["fidelity"]["model"]["opset"],
            files={},
            fidelity=shorten(fidelity.scaled, fidelity.metric),
            libraries={name: version for name, version in libraries.items() if version},
            processor=next(filter(None, processors), ""),
        )

    def _replace(
        self,
        variant: Variant,
        model: Artifact,
        folder: str,
        text: Callable[[Files], str],
        check: Callable[[Files], object],
    ) -> dict[str, tuple[str, int]]:
        # Imported here: nothing else of a build that publishes nothing needs the ONNX libraries.
        from onnxbuild.graph.save import write_model

        external = self._recipes[variant.recipe].export.external_data
        made: dict[str, tuple[str, int]] = {}

        def fill(staging: str) -> None:
            names = write_model(self._store.path(model), staging, external_data=external)
            for name in names:
                path = os.path.join(staging, name)
                made[name] = (digest_file(path), os.path.getsize(path))
            # What is refused here never takes the place of what is there.
            check(made)
            points.at("write", os.path.join(staging, BUILD_JSON))
            with open(os.path.join(staging, BUILD_JSON), "w", encoding="utf-8") as file:
                file.write(text(made))
            self._store.announce_variant(
                folder, contents_of(made, text(made)), self._traces_of(variant.recipe)
            )

        replace_folder(folder, fill, lambda what: self._listen(Said(what)))
        return made

    def _traces(self) -> dict[int, Trace]:
        found: dict[int, Trace] = {}
        for step in self._plan.steps:
            for name in step.outputs:
                trace = self._build.trace_of(Output(step, name))
                if trace is not None:
                    found[id(step)] = trace
        return found

    def _gate_problem(self, variant: Variant, finding: Finding, path: str) -> Problem:
        hint = finding.hint
        if os.path.exists(path):
            older = os.path.relpath(path)
            hint = f"{hint}; {older} is from an earlier build and was left as it is".lstrip("; ")
        return Problem(
            what=f"{variant.recipe}/{variant.name} was not published: {finding.describe()}",
            where=f"verify.{variant.name}",
            hint=hint,
            exit_code=3,
        )


def _unpublished(variant: Variant, folder: str) -> VariantResult:
    path = os.path.join(folder, "model.onnx")
    return VariantResult(recipe=variant.recipe, variant=variant.name, path=path, published=False)


def _unlocked(recipe: Recipe, locked: Locked) -> Iterator[Problem]:
    """Give what is locked and is not published any more."""
    for name, where in locked.missing(recipe.publish):
        yield Problem(
            what=f"{recipe.name}/{name} is locked, and the recipe does not publish it",
            where=where,
            hint=locked.advice,
        )


def _read_problem(variant: Variant, error: OnnxbuildError) -> Problem:
    return Problem(
        what=f"{variant.recipe}/{variant.name} was not published: {error.what}",
        where=error.where,
        hint=error.hint,
        exit_code=error.exit_code,
    )
