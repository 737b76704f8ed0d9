"""Write down what is published, for review; `run --locked` keeps to it.

Brings the models up to date first. Each lock is a file beside its recipe: ``recipe.lock.yaml``.
"""

from __future__ import annotations

import argparse
import json

from onnxbuild import api
from onnxbuild.cli import console
from onnxbuild.cli.arguments import add_json, add_words, at_least_one, split
from onnxbuild.cli.progress import watch
from onnxbuild.cli.run import show


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Take the arguments of ``lock``."""
    add_words(parser)
    add_json(parser)
    parser.add_argument(
        "-j", "--jobs", type=at_least_one, metavar="N", help="steps that run at once"
    )


def main(options: argparse.Namespace) -> int:
    """Build and lock, and print which files say what is new."""
    recipes, overrides = split(options.words)
    with watch(lambda step: step.label, quiet=options.json) as listen:
        locking = api.lock(recipes, overrides, jobs=options.jobs, listen=listen)
    if options.json:
        console.data(json.dumps(locking.to_json(), indent=2))
    elif locking.build.status != "ok":
        show(locking.build, options.words, as_json=False)
    for path in [] if options.json else locking.locks:
        console.data(f"{path}: {'written' if path in locking.written else 'as it was'}")
    return locking.build.exit_code
