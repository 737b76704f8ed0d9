"""Answers that are remembered: what a command printed, for as long as all that it rests on holds.

The path of a fully cached build. It looks at every file that was observed, and imports neither
argparse, json, dataclasses, pathlib nor sqlite3.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from onnxbuild.engine.setting import Site
    from onnxbuild.workplace import Workplace

REMEMBERED = ("run", "plan", "validate", "explain", "graph")
"""Commands whose output is a function of what was observed."""


def answer(arguments: list[str]) -> int | None:
    """Print the remembered answer to a command, and give its exit code; None when there is none."""
    if not arguments or arguments[0] not in REMEMBERED:
        return None
    place = _place(arguments)
    if place is None:
        return None
    from onnxbuild.core import answers

    folder, key, root = place
    body = answers.recall(folder, key, root)
    if body is None:
        return None
    answers.note_asked(folder, key)
    data, _, talk = body.partition("\0")
    sys.stdout.write(data)
    sys.stdout.flush()
    sys.stderr.write(talk)
    return 0


def remember(
    workplace: Workplace, facts: Iterable[tuple[str, str, str]], data: str, talk: str = ""
) -> None:
    """Remember that this very command prints `data` and `talk`, as long as `facts` hold."""
    remember_at(workplace.site, workplace.store.known_files(), facts, data, talk)


def remember_at(
    site: Site,
    known: Mapping[str, tuple[tuple[int, int, int, int], str]],
    facts: Iterable[tuple[str, str, str]],
    data: str,
    talk: str = "",
) -> None:
    """Remember as `remember` does; `known` gives the signatures and digests of files."""
    from contextlib import suppress

    from onnxbuild.core import answers
    from onnxbuild.core.facts import find_path

    place = _place(sys.argv[1:])
    if place is None:
        return
    folder, key, root = place
    facts = (*facts, *own_code(root))
    roots = dict(site.roots)
    files = {find_path(name, root, roots): value for kind, name, value in facts if kind == "file"}
    # Where the project cannot be written to, the answer is found anew each time; nothing else is lost.
    with suppress(OSError):
        answers.remember(
            folder,
            key,
            facts,
            # A file may have changed since a step read it: its signature vouches for what it is now.
            {path: seen for path, (seen, digest) in known.items() if files.get(path) == digest},
            root,
            roots,
            site.ignored,
            data + "\n\0" + (talk + "\n" if talk else ""),
        )


def forget() -> None:
    """Forget all answers of the project: what they say is true, and no longer all that is to be said."""
    place = _place(sys.argv[1:])
    if place is not None and os.path.isdir(place[0]):
        for name in os.listdir(place[0]):
            os.unlink(os.path.join(place[0], name))


def _place(arguments: list[str]) -> tuple[str, str, str] | None:
    """Give the folder of answers, the key of this call and the project root."""
    from onnxbuild.project import find_root, store_folder

    recipe = ""
    for word in arguments[1:]:
        if word.endswith((".yaml", ".yml")) and "=" not in word and os.path.isfile(word):
            # A link to a recipe is a recipe of the folder that it lies in, as `compose` has it.
            recipe = os.path.join(
                os.path.realpath(os.path.dirname(word) or "."), os.path.basename(word)
            )
            break
    if not recipe:
        return None
    root = find_root(os.path.dirname(recipe))
    # Where the recipe's settings put the store is not known yet: answers lie in the project then.
    store = store_folder(root)
    look = [str(sys.stdout.isatty()), os.environ.get("NO_COLOR", ""), os.environ.get("COLUMNS", "")]
    here = os.path.relpath(os.path.realpath(os.getcwd()), root)
    machine = os.uname()
    key = "\0".join(
        [
            sys.version,
            sys.prefix,
            machine.nodename,
            machine.machine,
            here,
            recipe[len(root) :],
            *look,
            *arguments,
        ]
    )
    return os.path.join(store, "answers"), key, root


def own_code(root: str) -> list[tuple[str, str, str]]:
    """Give facts that stand for onnxbuild's own code: its version, or its files when they can be edited."""
    from onnxbuild.core.digest import digest_file
    from onnxbuild.core.facts import installed, name_path

    package = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    facts = [("package", "onnxbuild", installed().get("onnxbuild", ""))]
    if os.path.basename(os.path.dirname(package)).endswith("-packages"):
        return facts
    for folder, folders, names in os.walk(package):
        folders[:] = [name for name in folders if name != "__pycache__"]
        for name in names:
            if name.endswith(".py"):
                path = os.path.join(folder, name)
                facts.append(("file", name_path(path, root, {}), digest_file(path)))
    return facts
