"""Check recipes: all their mistakes at once, each with its place.

Runs no user code.
"""

from __future__ import annotations

import argparse
import json
from typing import Any

from onnxbuild.cli import console, fast
from onnxbuild.cli.arguments import add_json, add_recipes, split
from onnxbuild.compose import Composition, compose_all
from onnxbuild.core.facts import find_path
from onnxbuild.errors import OnnxbuildError, RecipeError, UsageError
from onnxbuild.project import store_folder
from onnxbuild.workplace import find_site


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Take the arguments of ``validate``."""
    add_recipes(parser)
    add_json(parser)


def main(options: argparse.Namespace) -> int:
    """Check each recipe by itself, and show the mistakes of all."""
    recipes, overrides = split(options.words)
    found: list[dict[str, Any]] = []
    problems: list[OnnxbuildError] = []
    right: list[Composition] = []
    for path in recipes:
        names: list[str | None] = [None]
        try:
            made = compose_all([path], overrides, multirun=options.multirun)
            names = [item.recipe.name for item in made]
            right += made
        except RecipeError as error:
            problems += error.mistakes
        except UsageError as error:
            problems.append(error)
        found += [{"name": name, "file": path, "ok": name is not None} for name in names]
    text = _to_json(found, problems) if options.json else _say(found)
    if text:
        console.data(text)
    if problems and not options.json:
        console.error(RecipeError(problems))
    if problems:
        return UsageError.exit_code
    _remember(right, text)
    return 0


def _remember(right: list[Composition], text: str) -> None:
    root = right[0].root
    if any(item.root != root for item in right):
        return
    facts = [fact for item in right for fact in item.facts]
    digests = {find_path(name, root, {}): value for kind, name, value in facts if kind == "file"}
    known = {
        path: (seen, digests[path])
        for item in right
        for path, seen in item.signatures.items()
        if path in digests
    }
    site = find_site(right, store_folder(root, right[0].recipe.settings.store))
    fast.remember_at(site, known, facts, text)


def _say(found: list[dict[str, Any]]) -> str:
    return "\n".join(f"ok: {item['name']} ({item['file']})" for item in found if item["ok"])


def _to_json(found: list[dict[str, Any]], problems: list[OnnxbuildError]) -> str:
    errors = [{"what": item.what, "where": item.where, "hint": item.hint} for item in problems]
    body = {"status": "failed" if problems else "ok", "recipes": found, "errors": errors}
    return json.dumps(body, indent=2)
