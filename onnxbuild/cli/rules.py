"""List the replacement rules, or document one of them."""

from __future__ import annotations

import argparse

from onnxbuild.cli import console
from onnxbuild.cli.sections import document, list_all


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Take the arguments of ``rules``."""
    parser.add_argument("name", nargs="?", metavar="NAME", help="document this rule")


def main(options: argparse.Namespace) -> int:
    """Print the list, or the documentation of one."""
    if options.name is None:
        console.data(f"{list_all('rules')}\n\n`onnxbuild rules NAME` documents one.")
    else:
        console.data(document("rules", options.name))
    return 0
