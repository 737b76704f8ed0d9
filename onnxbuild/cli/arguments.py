"""Arguments that several commands share."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from onnxbuild.errors import UsageError


def add_recipes(parser: argparse.ArgumentParser) -> None:
    """Take recipes and overrides, in any order."""
    parser.add_argument(
        "words", nargs="*", metavar="RECIPE.yaml | key=value", help="recipes, and overrides of their keys"
    )


def add_json(parser: argparse.ArgumentParser) -> None:
    """Take ``--json``."""
    parser.add_argument("--json", action="store_true", help="print one JSON object to stdout")


def add_only(parser: argparse.ArgumentParser) -> None:
    """Take ``--only STAGE``, any number of times."""
    parser.add_argument(
        "--only", action="append", default=[], metavar="STAGE", help="only what this variant needs"
    )


def split(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Tell recipes from overrides. Raises `UsageError` when there is no recipe."""
    recipes = [word for word in words if not is_override(word)]
    overrides = [word for word in words if is_override(word)]
    if not recipes:
        raise UsageError("no recipe was named", hint="name a recipe file: onnxbuild run recipe.yaml")
    return recipes, overrides


def is_override(word: str) -> bool:
    """Tell an override (``key=value``, ``+key=value``, ``~key``) from the path of a recipe."""
    return word.startswith("~") or "=" in word
