"""Print the JSON Schema of recipes, with which editors complete and check them."""

from __future__ import annotations

import argparse
import json

from onnxbuild import registry
from onnxbuild.cli import console
from onnxbuild.recipe.jsonschema import recipe_schema


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Take the arguments of ``schema``: none."""
    parser.epilog = (
        "onnxbuild schema > recipe.schema.json, and as the first line of a recipe:\n"
        "  # yaml-language-server: $schema=recipe.schema.json"
    )


def main(_: argparse.Namespace) -> int:
    """Print the schema."""
    console.data(json.dumps(recipe_schema(registry), indent=2))
    return 0
