"""The command: a remembered answer where one still holds, else the whole of it."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command with the arguments of the process, and exit."""
    from onnxbuild.cli.fast import answer

    arguments = sys.argv[1:]
    code = answer(arguments)
    if code is None:
        from onnxbuild.cli.main import main as run_command

        code = run_command(arguments)
    sys.exit(code)


if __name__ == "__main__":
    main()
