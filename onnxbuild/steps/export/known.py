"""What exporters say when a model cannot be exported, what that means, and what helps. No library is imported."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """One thing that can be wrong, and how exporters put it."""

    name: str
    """What people look it up by."""

    pattern: str
    """Found in the messages of the exception and of those behind it, each after the name of its type."""

    what: str
    """What it means; ``{0}`` is the pattern's first group."""

    hint: str
    """What helps."""


WRITE_PLAIN = (
    "write it with operators that ONNX has; or say what it becomes, replace: {{NAME: {{operator: {0}, with:"
    " file.py:function}}}}; or put another module there, replace: {{NAME: {{module: file.py:Class, with:"
    " file.py:Other}}}}"
)

KNOWN: Sequence[Known] = (
    Known(
        name="operator of a later opset",
        pattern=r"operator '([\w:.]+)' to ONNX opset version (\d+) is not supported\. Support .* version (\d+)",
        what="TorchScript has no translation of the operator {0} at opset {1}; it has one from opset {2} on",
        hint="say `opset: {2}` or more",
    ),
    Known(
        name="complex numbers",
        pattern=r"(?:operator '?|<OpOverload\(op=')((?:aten::|aten\.|prims\.)"
        r"(?:view_as_complex|view_as_real|complex|polar|angle|_?fft\w*|istft|real|imag)\b[\w.]*)",
        what="forward computes with complex numbers ({0}), which ONNX does not have",
        hint="compute with pairs of real numbers; the rule complex_pairs does so for torch.fft, products and most"
        " else by itself, and the log says of what it knows nothing",
    ),
    Known(
        name="a module that torch has quantized",
        pattern=r"(quantized::\w+|(?:torch\.)?classes\.quantized\.\w+)",
        what="the model has been quantized by torch already ({0}), and these operators of torch's own have no translation",
        hint="give the model as it was before, and quantize the ONNX model: a variant with `quantize_dynamic` or"
        " `quantize_static`; fake quantization of quantization-aware training exports as it is",
    ),
    Known(
        name="custom operator",
        pattern=r"(?:unrecognized namespace |<OpOverload\(op=')((?!aten\b|prims\b|prim\b|torchvision\b)\w+(?:::|\.)\w+)",
        what="{0} is an operator of somebody's own, and ONNX has no translation of it",
        hint=WRITE_PLAIN,
    ),
    Known(
        name="custom operator without a fake implementation",
        pattern=r"no fake impl registered for <CustomOpDef\(([\w:]+)\)>",
        what="torch.export cannot follow the operator {0}: it has no fake implementation, which tells shapes",
        hint="register one with `register_fake`; and ONNX needs a translation of the operator besides",
    ),
    Known(
        name="a number that follows from sizes",
        pattern=r"Unsupported attribute type: .*SymbolicTensor|argument must be .* not 'SymbolicTensor'",
        what="an operator gets a number that follows from sizes, where ONNX has a fixed one",
        hint="compute with a tensor of it, `torch.full((), number)`; or leave that size fixed",
    ),
    Known(
        name="operator without a translation",
        pattern=r"No ONNX function found for <OpOverload\(op='([\w.]+)'|(?:the operator '|export operator )([\w:]+)",
        what="ONNX has no translation of the operator {0}",
        hint=WRITE_PLAIN,
    ),
    Known(
        name="operator that cannot be followed",
        pattern=r"(?:UnsupportedOperatorException|DynamicOutputShapeException): ([\w.:]+)",
        what="torch.export cannot follow the operator {0}: it does not know the shape of what comes out",
        hint=WRITE_PLAIN,
    ),
    Known(
        name="an operator that cannot be converted down",
        pattern=r"No Adapter (?:From|To) Version \$?(\d+) for (\w+)",
        what="dynamo writes opset 18, and onnx cannot convert {1} to an opset below {0}",
        hint="say `opset: {0}` or more",
    ),
    Known(
        name="an operator that a lower opset has not",
        pattern=r"No Previous Version of (\w+) exists",
        what="dynamo writes opset 18, and the opset that is asked for has no {0}",
        hint="say a higher `opset`: `onnxbuild opsets {0}` says since which there is one",
    ),
    Known(
        name="a value becomes a number of Python's",
        pattern=r"Could not extract specialized (?:integer|float)|DataDependentOutputException|"
        r"Tensor\.(?:tolist|item)\(\)",
        what="forward makes a number of Python's of a value that it computes from its inputs",
        hint="stay with tensors: compare with torch.where, select with masks or torch.gather; a length that"
        " callers know may be the size of an input",
    ),
    Known(
        name="the code decides by values",
        pattern=r"Could not guard on data-dependent|Data-dependent (?:branching|assertion)|GuardOnDataDependentSymNode",
        what="forward decides by values that it computes from its inputs, and a graph has one way for all inputs",
        hint="write it with torch.where, which computes both sides, or with torch.cond",
    ),
    Known(
        name="NumPy in forward",
        pattern=r"\.numpy\(\) is not supported for tensor subclasses|Can't call numpy\(\) on",
        what="forward goes from PyTorch to NumPy, where no exporter can follow",
        hint="write that with torch",
    ),
    Known(
        name="a size as a key",
        pattern=r"unhashable type: .*SymInt",
        what="forward looks something up by a size (lru_cache, a dict), and a dynamic size is no key",
        hint="compute it in forward, or make it for the largest size in __init__ and slice it",
    ),
    Known(
        name="a GPU in forward",
        pattern=r"not linked with support for cuda|not compiled with CUDA|Found no NVIDIA driver|No CUDA GPUs",
        what="forward, or what it calls, moves tensors to a GPU, and there is none here",
        hint="take the device from a tensor: `x.device`, `torch.zeros(…, device=x.device)`, `register_buffer`",
    ),
    Known(
        name="a package is missing",
        pattern=r"ModuleNotFoundError: No module named '([\w.]+)'",
        what="forward imports {0} while it is exported, and there is no such module",
        hint="install it, or have the model take another way while it is exported",
    ),
    Known(
        name="a tensor kept in an attribute",
        pattern=r"[Tt]ensor attributes? ([\w., ]+) (?:was|were) assigned during export",
        what="forward keeps a tensor in an attribute ({0}), and a graph keeps nothing",
        hint="use a local variable; or register_buffer in __init__, if it is a constant",
    ),
    Known(
        name="a view changed in place",
        pattern=r"view of a leaf Variable|a leaf Variable that requires grad .*in-place|more than one element of the written-to|"
        r"fake tensor in the exported program constant's list",
        what="forward changes a tensor in place, through a view or `.data`, where torch.export cannot follow",
        hint="clone() before the change, or write it without one: torch.where, torch.cat, index_put",
    ),
    Known(
        name="addresses of tensors",
        pattern=r"Cannot access data pointer|Data pointer comparison",
        what="forward asks where a tensor lies in memory",
        hint="compare tensors by `is`, or by what they hold",
    ),
    Known(
        name="gradients in forward",
        pattern=r"trace_autograd_ops=False|does not require grad and does not have a grad_fn",
        what="forward computes gradients, and a graph has none",
        hint="write the derivative out",
    ),
    Known(
        name="types that differ",
        pattern=r"expected scalar type (\w+) but found (\w+)|must have the same dtype.* (\w+) and (\w+)|"
        r"bound to different types \((tensor\(\w+\)) and (tensor\(\w+\))",
        what="an operator gets tensors of two types, {0} and {1}",
        hint="convert one of them: `y.to(x.dtype)`",
    ),
    Known(
        name="no kernel in onnxruntime",
        pattern=r"Could not find an implementation for ([\w.:]+)",
        what="onnxruntime has no kernel for {0} with these types",
        hint="take other types (float32, int64): torch.autocast makes bfloat16, unless it says `enabled=False`; or another opset:"
        " `onnxbuild opsets OPERATOR` lists its versions",
    ),
    Known(
        name="strict mode cannot follow",
        pattern=r"(?:^|\.)Unsupported: (?!Observed exception)([^\n]+)",
        what="strict mode cannot follow forward: {0}",
        hint="leave out `strict`, or write that part another way",
    ),
)
"""The first that is found counts."""

NOISY_PARTS = re.compile(r"^_+|_+$|\d+d$")


def find_known(text: str) -> tuple[Known, tuple[str, ...]] | None:
    """Give what is known of a text of messages, with the groups of its pattern that were found."""
    for known in KNOWN:
        found = re.search(known.pattern, text, re.MULTILINE)
        if found:
            return known, tuple(group for group in found.groups() if group is not None)
    return None


def say_known(known: Known, groups: Sequence[str]) -> tuple[str, str]:
    """Write what is wrong and what helps."""
    return known.what.format(*groups), known.hint.format(*groups)


def rules_for(operator: str, rules: Sequence[str]) -> list[str]:
    """Name the replacement rules that speak of an operator: ``aten::grid_sampler_2d`` and ``grid_sample``."""
    name = re.split(r"::|\.", operator)[1 if re.search(r"::|\.", operator) else 0]
    name = NOISY_PARTS.sub("", NOISY_PARTS.sub("", name))
    # Another word after it makes another operator: ``unique_consecutive`` is not ``unique``.
    near = [
        rule
        for rule in rules
        if re.search(f"{rule}(?!_)", name) or (len(name) > 3 and name in rule)  # noqa: PLR2004
    ]
    return near or get_close_matches(name, rules, n=1, cutoff=0.8)
