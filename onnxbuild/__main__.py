"""The command: a remembered answer where one still holds, else the whole of it."""

from __future__ import annotations

import os
import sys

INTERRUPTED = 130


def main() -> None:
    """Run the command with the arguments of the process, and exit."""
    _open_closed_streams()
    try:
        code = _answer(sys.argv[1:])
    except KeyboardInterrupt:
        sys.stderr.write("interrupted; what had finished is kept\n")
        code = INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has seen enough. What is left of it must not fail once more at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        code = 0
    sys.exit(code)


def _open_closed_streams() -> None:
    """Have something behind stdin, stdout and stderr, whatever the caller has closed.

    Else the next file that is opened takes the number, and gets what is printed.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
            setattr(sys, name, open(number, "w" if number else "r", closefd=False))  # noqa: SIM115


def _answer(arguments: list[str]) -> int:
    from onnxbuild.cli.fast import answer

    code = answer(arguments)
    if code is not None:
        return code
    from onnxbuild.cli.main import main as run_command

    return run_command(arguments)


if __name__ == "__main__":
    if not sys.flags.safe_path:
        # `python -m` puts the current folder first, where a file may bear the name of a module that we need.
        del sys.path[0]
    main()
