"""The files of a variant: ``model.onnx``, or what its last stage publishes in its place."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping

from onnxbuild.core import files, points
from onnxbuild.core.artifact import Artifact
from onnxbuild.core.step import Output
from onnxbuild.planner import Variant
from onnxbuild.recipe.schema import Export
from onnxbuild.report.result import VariantResult

MODEL = "model.onnx"


def outputs_of(variant: Variant) -> Mapping[str, Output]:
    """Give by file name what a variant publishes, the file that people are pointed at first."""
    return variant.files or {MODEL: variant.model}


def unpublished(variant: Variant, folder: str) -> VariantResult:
    """Give the result of a variant before anything is known of it."""
    path = os.path.join(folder, next(iter(outputs_of(variant))))
    return VariantResult(recipe=variant.recipe, variant=variant.name, path=path, published=False)


def size_of(served: Mapping[str, Artifact]) -> int:
    """Give the bytes of all files, weights included."""
    return sum(artifact.size for artifact in served.values())


def write(
    served: Mapping[str, Artifact],
    path_of: Callable[[Artifact], str],
    folder: str,
    export: Export,
) -> list[str]:
    """Write files into a folder; give their names, those of external data too."""
    # Imported here: nothing else of a build that publishes nothing needs the ONNX libraries.
    from onnxbuild.graph.save import write_model

    names: list[str] = []
    for name, artifact in served.items():
        if artifact.kind == "model":
            stem = name.removesuffix(".onnx")
            names += write_model(
                path_of(artifact), folder, external_data=export.external_data, name=stem
            )
        else:
            target = os.path.join(folder, name)
            points.at("write", target)
            with open(target, "wb") as file:
                files.append(path_of(artifact), file)
            names.append(name)
    return names
