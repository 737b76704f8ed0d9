"""The command line: finds the command, gives it its arguments, and says what went wrong."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from importlib import import_module

from onnxbuild import __version__
from onnxbuild.cli import console

COMMANDS = {
    "run": "bring the published models of recipes up to date",
    "lock": "write down what the published models are, for review",
    "plan": "show the steps: cached, to run, or maybe",
    "graph": "draw the plan as text, Mermaid or DOT",
    "explain": "say why each step would run",
    "validate": "check recipes: all mistakes at once, no user code",
    "rules": "list the replacement rules, or document one",
    "stages": "list the stages, or document one",
    "opsets": "show opsets, ONNX releases and the runtimes that run them",
    "inspect": "look at an ONNX file",
    "log": "show what a step printed",
    "cache": "look after the store",
    "schema": "print the JSON Schema of recipes",
}

USAGE = 2


def main(arguments: Sequence[str]) -> int:
    """Run one command and give its exit code."""
    if not arguments or arguments[0] in {"-h", "--help", "help"}:
        console.data(help_text())
        return 0 if arguments else USAGE
    if arguments[0] in {"-V", "--version"}:
        console.data(f"onnxbuild {__version__}")
        return 0
    name = arguments[0]
    if name not in COMMANDS:
        return _unknown(name)
    # Whoever stops us with SIGTERM gets the same orderly end as with Ctrl-C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        return _run(name, arguments[1:])
    except BrokenPipeError:
        raise
    except Exception as error:
        if "--debug" in arguments:
            raise
        return _report(error, as_json="--json" in arguments)


def _run(name: str, arguments: Sequence[str]) -> int:
    import argparse

    from onnxbuild.cli.arguments import Parser

    command = import_module(f"onnxbuild.cli.{name}")
    parser = Parser(
        prog=f"onnxbuild {name}",
        description=(command.__doc__ or "").partition("\n")[0],
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--debug", action="store_true", help="show tracebacks of onnxbuild itself")
    command.add_arguments(parser)
    # Overrides may stand between options, as in `run r.yaml env=ci -j 2 export.opset=20`.
    code: int = command.main(parser.parse_intermixed_args(arguments))
    return code


def _report(error: Exception, *, as_json: bool) -> int:
    """Say what went wrong, without a traceback, and give the exit code."""
    from onnxbuild.errors import OnnxbuildError

    if isinstance(error, OnnxbuildError):
        problem = error
    elif isinstance(error, OSError):
        named = f"{error.strerror or error}" + (f": {error.filename}" if error.filename else "")
        problem = OnnxbuildError(named, hint="--debug shows where it was met")
    else:
        problem = OnnxbuildError(
            f"onnxbuild itself failed: {type(error).__name__}: {error}",
            hint="this is a defect of onnxbuild; --debug shows the traceback to report",
        )
    try:
        console.error(problem, as_json=as_json)
    except OSError:
        # Nobody can read stdout; who called may still read stderr.
        console.error(problem)
    return problem.exit_code


def help_text() -> str:
    """Write what ``--help`` prints."""
    width = max(map(len, COMMANDS))
    lines = [
        "onnxbuild: build the ONNX models of a recipe, once, proven against PyTorch",
        "",
        "usage: onnxbuild COMMAND [RECIPE.yaml ...] [key=value ...] [options]",
        "",
        *(f"  {name.ljust(width)}  {summary}" for name, summary in COMMANDS.items()),
        "",
        "  onnxbuild COMMAND --help   the options of a command",
        "  onnxbuild --version        the version",
        "",
        "key=value overrides a key of the recipe or its settings, in Hydra's grammar:",
        "  onnxbuild run recipe.yaml env=ci export.opset=20 stages.int8.per_channel=false",
    ]
    return "\n".join(lines)


def _unknown(name: str) -> int:
    from difflib import get_close_matches

    near = get_close_matches(name, COMMANDS, n=1)
    console.talk(f"error: there is no command {name!r}")
    if near:
        console.talk(f"  hint: did you mean `onnxbuild {near[0]}`?")
    elif name.endswith((".yaml", ".yml")):
        console.talk(f"  hint: onnxbuild run {name}")
    else:
        console.talk("  hint: `onnxbuild --help` lists the commands")
    return USAGE
