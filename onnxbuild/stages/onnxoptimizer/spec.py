"""The ``onnxoptimizer`` stage: what a recipe may say. The work is in `.run`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from onnxbuild.core.step import Output, Resources, Step
from onnxbuild.recipe.stage import Stage, StageContext

PassName: TypeAlias = Literal[
    "adjust_add", "adjust_slice_and_matmul", "eliminate_common_subexpression",
    "eliminate_consecutive_idempotent_ops", "eliminate_deadend", "eliminate_duplicate_initializer",
    "eliminate_identity", "eliminate_if_with_const_cond", "eliminate_nop_cast", "eliminate_nop_concat",
    "eliminate_nop_dropout", "eliminate_nop_expand", "eliminate_nop_flatten",
    "eliminate_nop_monotone_argmax", "eliminate_nop_pad", "eliminate_nop_reshape", "eliminate_nop_split",
    "eliminate_nop_transpose", "eliminate_nop_with_unit", "eliminate_shape_gather", "eliminate_shape_op",
    "eliminate_slice_after_shape", "eliminate_unused_initializer", "extract_constant_to_initializer",
    "fuse_add_bias_into_conv", "fuse_bn_into_conv", "fuse_concat_into_reshape", "fuse_consecutive_concats",
    "fuse_consecutive_log_softmax", "fuse_consecutive_reduce_unsqueeze", "fuse_consecutive_slices",
    "fuse_consecutive_squeezes", "fuse_consecutive_transposes", "fuse_consecutive_unsqueezes",
    "fuse_matmul_add_bias_into_gemm", "fuse_pad_into_conv", "fuse_pad_into_pool", "fuse_qkv",
    "fuse_transpose_into_gemm", "lift_lexical_references", "nop", "rename_input_output",
    "replace_einsum_with_matmul", "rewrite_input_dtype", "rewrite_where", "set_unique_name_for_nodes",
    "split_init", "split_predict",
]  # fmt: skip
"""The passes of onnxoptimizer 0.4. A test compares them with the installed ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OnnxOptimizer(Stage):
    """Simplify the graph with onnxoptimizer: what does nothing goes, what can be fused is fused."""

    passes: tuple[PassName, ...] | None = None
    """The passes, in order. Left out: all that fuse or eliminate (``get_fuse_and_elimination_passes``),
    but for ``eliminate_consecutive_idempotent_ops`` in a model that it would break."""

    fixed_point: bool = True
    """Repeat the passes until nothing changes."""

    def apply(self, model: Output, context: StageContext) -> Output:
        """Become one step."""
        step = Step(
            label=f"{context.name}: onnxoptimizer",
            run="onnxbuild.stages.onnxoptimizer.run:optimize",
            options=self,
            inputs={"model": model},
            libraries=("onnx", "onnx-ir", "onnxoptimizer", "onnxruntime", "numpy"),
            resources=Resources(isolate=True),
        )
        return Output(step)
