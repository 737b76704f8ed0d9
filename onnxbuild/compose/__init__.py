"""Recipe + environment + overrides -> one checked recipe. The only package that knows Hydra.

`compose` remembers what it made by what it observed, so that a repeated build imports neither Hydra,
OmegaConf, PyYAML nor jsonschema.
"""

from onnxbuild.compose.remembered import Composition, compose, expand, validate
from onnxbuild.compose.sweeping import compose_all

__all__ = ["Composition", "compose", "compose_all", "expand", "validate"]
