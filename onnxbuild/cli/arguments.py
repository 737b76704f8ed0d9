"""Arguments that several commands share."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from difflib import get_close_matches
from typing import NoReturn

from onnxbuild.errors import UsageError


def add_recipes(parser: argparse.ArgumentParser) -> None:
    """Take recipes and overrides, in any order, and ``--multirun``."""
    add_words(parser)
    add_multirun(parser)


def add_words(parser: argparse.ArgumentParser) -> None:
    """Take recipes and overrides, in any order."""
    parser.add_argument(
        "words",
        nargs="*",
        metavar="RECIPE.yaml | key=value",
        help="recipes, and overrides of their keys",
    )


def add_multirun(parser: argparse.ArgumentParser) -> None:
    """Take ``--multirun``."""
    parser.add_argument(
        "-m", "--multirun", action="store_true",
        help="build each point of a sweep, as in export.opset=18,20, into a folder of its own",
    )  # fmt: skip


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
        raise UsageError(
            "no recipe was named", hint="name a recipe file: onnxbuild run recipe.yaml"
        )
    return recipes, overrides


def is_override(word: str) -> bool:
    """Tell an override (``key=value``, ``+key=value``, ``~key``) from the path of a recipe."""
    if word.endswith((".yaml", ".yml")) and os.path.isfile(word):
        return False
    return word.startswith("~") or "=" in word


def at_least_one(word: str) -> int:
    """Read a number of things of which there must be one. Raises `argparse.ArgumentTypeError`."""
    if word.isascii() and word.isdigit() and int(word) > 0:
        return int(word)
    raise argparse.ArgumentTypeError(f"must be a whole number of at least 1, not {word!r}")


class Parser(argparse.ArgumentParser):
    """Says what is wrong with a call as everything else here does."""

    def error(self, message: str) -> NoReturn:
        """Raise `UsageError`, with the nearest option where one is misspelt."""
        unknown = message.removeprefix("unrecognized arguments: ")
        if unknown == message:
            raise UsageError(message, hint=f"`{self.prog} --help` shows how it is called")
        word = unknown.split()[0].partition("=")[0]
        near = get_close_matches(word, self._option_string_actions, n=1)
        raise UsageError(
            f"`{self.prog}` has no option {word}",
            hint=f"did you mean {near[0]}?" if near else f"`{self.prog} --help` lists them",
        )
