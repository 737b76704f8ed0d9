# ruff: noqa: INP001  a folder of its own on the path, not a package
"""Makes a Python that a step has started say what it sees, then steps aside for the next of its name."""

import json
import os
import sys
from importlib.machinery import PathFinder
from importlib.util import module_from_spec

_HERE = os.path.dirname(os.path.abspath(__file__))


def _observe() -> None:
    settings = os.environ.get("ONNXBUILD_OBSERVE")
    if not settings:
        return
    package = json.loads(settings)["package"]
    sys.path.append(package)
    try:
        from onnxbuild.observe.children import observe_here
    except ImportError as error:
        # Another interpreter, which lacks what this needs; the net still sees the files it opens.
        sys.stderr.write(f"onnxbuild: cannot observe {sys.executable}: {error}\n")
        return
    finally:
        sys.path.remove(package)
    observe_here()


def _run_next() -> None:
    others = [entry for entry in sys.path if os.path.abspath(entry) != _HERE]
    spec = PathFinder.find_spec("sitecustomize", others)
    if spec is None or spec.loader is None:
        return
    module = module_from_spec(spec)
    sys.modules["sitecustomize"] = module
    spec.loader.exec_module(module)


_observe()
_run_next()
