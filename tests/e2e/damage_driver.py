"""Flips, truncates and deletes each file of a store, and of what is published, in turn, and builds on.

``python damage_driver.py PROJECT REMAINDER DIVISOR``. PROJECT holds ``net.yaml`` and is built; it is not changed. Prints
one JSON object: the number of files, and what went wrong.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile

from forked import CALL, call, published, warm_up

from onnxbuild.project import store_folder
from onnxbuild.stores.local import LocalStore

OTHER = "stages.slim.passes=[eliminate_deadend]"
"""An option with which the stage, and all that looks at its result, must read what came before."""

IDLE = ("gate", "opening", "lock", ".gitignore")
"""Files of a store that hold nothing."""


def flip(path: str) -> None:
    """Turn one bit in the middle over, and have the file look as it did."""
    status = os.stat(path)
    os.chmod(path, 0o644)
    with open(path, "r+b") as file:
        file.seek(status.st_size // 2)
        byte = file.read(1)[0]
        file.seek(status.st_size // 2)
        file.write(bytes([byte ^ 4]))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def truncate(path: str) -> None:
    """Cut a file in half."""
    os.chmod(path, 0o644)
    os.truncate(path, os.path.getsize(path) // 2)


HURTS = {"flipped": flip, "truncated": truncate, "deleted": os.unlink}


def list_files(project: str) -> list[str]:
    """Give every file with content that a build has made."""
    return sorted(
        os.path.relpath(os.path.join(folder, name), project)
        for top in (".onnxbuild", "artifacts")
        for folder, _, names in os.walk(os.path.join(project, top))
        for name in names
        if name not in IDLE
    )


def list_results(project: str) -> set[str]:
    """Give every file that is a result, or a part of one: what a later step reads."""
    store = LocalStore(store_folder(project))
    artifacts = [one for trace in store.actions.all_traces() for one in trace.results.values()]
    paths = [store.path(one) for one in artifacts if one.inline is None]
    paths += [store.blob_path(part) for one in artifacts for part in one.parts]
    store.close()
    return {os.path.relpath(path, project) for path in paths}


def look(
    folder: str, path: str, how: str, expected: dict, expected_other: dict, *, is_result: bool
) -> list[str]:
    """Hurt a file and build on; give what is wrong."""
    HURTS[how](os.path.join(folder, path))
    wrong = []
    # Without an answer the command is answered anew, without a table all is built anew: nothing is missing then.
    is_missed = how != "deleted" or not path.startswith(
        (".onnxbuild/answers/", ".onnxbuild/actions")
    )
    code, said = call(folder, "cache", "verify")
    if is_missed and (code != 1 or "not whole" not in said):
        wrong.append(f"not found by a check: {said}")
    if not path.startswith("artifacts/"):
        # So that publishing needs what it is made of.
        shutil.rmtree(os.path.join(folder, "artifacts"))
    told = ""
    for extra, wanted in (((), expected), ((OTHER,), expected_other)):
        code, said = call(folder, *CALL, *extra)
        told += said
        if code != 0 or "Traceback" in said:
            wrong.append(f"the build failed: {said}")
        if published(folder) != wanted:
            wrong.append(f"what is published is wrong: {said}")
    code, said = call(folder, "cache", "verify")
    was_told = "is damaged and was put into quarantine; it is built again" in told or (
        "is missing in the store; it is built again" in told
    )
    if is_result and not was_told and code == 0:
        wrong.append(f"it was made anew without a word: {told}")
    call(folder, "cache", "verify", "--repair")
    code, said = call(folder, "cache", "verify")
    if code != 0:
        wrong.append(f"repaired and still not whole: {said}")
    return wrong


def run(project: str, remainder: int, divisor: int) -> dict:
    """Hurt the files whose number leaves `remainder`."""
    with tempfile.TemporaryDirectory() as scratch:
        warm_up(project, scratch)
        expected = published(project)
        whole = os.path.join(scratch, "whole")
        shutil.copytree(project, whole, symlinks=True)
        code, said = call(whole, *CALL, OTHER)
        assert code == 0, said
        expected_other = published(whole)
        files, results = list_files(project), list_results(project)
        problems = {}
        cases = [(path, how) for path in files for how in HURTS]
        for path, how in cases[remainder::divisor]:
            folder = os.path.join(scratch, "try")
            shutil.copytree(project, folder, symlinks=True)
            wrong = look(folder, path, how, expected, expected_other, is_result=path in results)
            if wrong:
                problems[f"{path} {how}"] = wrong
            shutil.rmtree(folder)
        return {"files": len(files), "problems": problems}


if __name__ == "__main__":
    project, remainder, divisor = sys.argv[1:]
    sys.stdout.write(json.dumps(run(project, int(remainder), int(divisor)), indent=2))
