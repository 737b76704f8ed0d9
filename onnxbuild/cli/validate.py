"""Check recipes: all their mistakes at once, each with its place.

Runs no user code.
"""

from __future__ import annotations

import argparse
import json
from typing import Any

from onnxbuild import api
from onnxbuild.cli import console, fast
from onnxbuild.cli.arguments import add_json, add_recipes, split
from onnxbuild.core.trace import Fact
from onnxbuild.errors import OnnxbuildError, RecipeError, UsageError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Take the arguments of ``validate``."""
    add_recipes(parser)
    add_json(parser)


def main(options: argparse.Namespace) -> int:
    """Check each recipe by itself, and show the mistakes of all."""
    recipes, overrides = split(options.words)
    found: list[dict[str, Any]] = []
    problems: list[OnnxbuildError] = []
    facts: list[Fact] = []
    roots: set[str] = set()
    workplace = None
    for path in recipes:
        name = None
        try:
            with api.open_workplace([path], overrides) as workplace:
                (name,) = workplace.recipes
                facts += api.workplace_facts(workplace)
                roots.add(workplace.site.root)
        except RecipeError as error:
            problems += error.mistakes
        except UsageError as error:
            problems.append(error)
        found.append({"name": name, "file": path, "ok": name is not None})
    text = _to_json(found, problems) if options.json else _say(found)
    if text:
        console.data(text)
    if problems and not options.json:
        console.error(RecipeError(problems))
    if problems or workplace is None:
        return UsageError.exit_code
    if len(roots) == 1:
        fast.remember(workplace, facts, text)
    return 0


def _say(found: list[dict[str, Any]]) -> str:
    return "\n".join(f"ok: {item['name']} ({item['file']})" for item in found if item["ok"])


def _to_json(found: list[dict[str, Any]], problems: list[OnnxbuildError]) -> str:
    errors = [{"what": item.what, "where": item.where, "hint": item.hint} for item in problems]
    body = {"status": "failed" if problems else "ok", "recipes": found, "errors": errors}
    return json.dumps(body, indent=2)
