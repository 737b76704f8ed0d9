"""The same project elsewhere: other folders, other users, other machines' habits, a cache that was carried along."""

from __future__ import annotations

import json
import os
import shutil
import tarfile

import pytest
from small_project import VARIANTS, onnxbuild, ran, run_json

from onnxbuild.stores.local import LocalStore

pytestmark = pytest.mark.e2e

ELSEWHERE = {
    "LANG": "tr_TR.UTF-8",
    "LC_ALL": "C",
    "TZ": "Asia/Tokyo",
    "PYTHONHASHSEED": "123",
    "USER": "somebody",
    "LOGNAME": "somebody",
    "USERNAME": "somebody",
}
MEASURED = {"made", "seconds", "peak_memory", "latency"}
"""What of a `build.json` is a time, or what a machine made of it."""


def keys(folder) -> set[str]:
    store = LocalStore(str(folder / ".onnxbuild"))
    found = {trace.key for trace in store.actions.all_traces()}
    store.close()
    return found


def digests(result):
    return {item["variant"]: item["digest"] for item in result["recipes"][0]["published"]}


def without_times(value):
    """Take out of a `build.json` what is measured in seconds."""
    if isinstance(value, list):
        return [without_times(item) for item in value if not is_timed(item)]
    if not isinstance(value, dict):
        return value
    return {key: without_times(item) for key, item in value.items() if key not in MEASURED}


def is_timed(item):
    """Tell whether a gate, or a step with its result, is about time."""
    return isinstance(item, dict) and (
        item.get("what") == "speed" or item.get("label", "").startswith("benchmark")
    )


def test_another_folder_and_another_user_build_the_same(built, tmp_path):
    """From nothing, at another depth, with another home, language, time zone, user and hash seed."""
    folder = tmp_path / "a" / "much" / "deeper" / "place"
    shutil.copytree(built[0], folder, ignore=shutil.ignore_patterns(".onnxbuild", "artifacts"))
    (tmp_path / "home").mkdir()

    done = onnxbuild(
        "run", "--json", "small.yaml", cwd=folder, HOME=str(tmp_path / "home"), **ELSEWHERE
    )

    assert done.returncode == 0, done.stderr
    assert digests(json.loads(done.stdout)) == digests(built[1])
    assert keys(folder) == keys(built[0])
    for variant in VARIANTS:
        one, other = (place / "artifacts" / "small" / variant for place in (built[0], folder))
        assert (one / "model.onnx").read_bytes() == (other / "model.onnx").read_bytes()
        told = [json.loads((place / "build.json").read_text()) for place in (one, other)]
        assert without_times(told[0]) == without_times(told[1])


@pytest.mark.parametrize("carried", ["with what was published", "the store alone"])
def test_a_cache_that_a_tar_archive_carried_is_as_good(built, tmp_path, carried):
    """As CI does it: another place, other times of modification and users; nothing runs, the files are the same."""
    folder = tmp_path / "runner" / "work"
    with tarfile.open(tmp_path / "cache.tar", "w") as archive:
        archive.add(
            built[0],
            "work",
            filter=lambda item: item.replace(mtime=1_000_000_000, uid=1, gid=1, deep=False),
        )
    with tarfile.open(tmp_path / "cache.tar") as archive:
        archive.extractall(tmp_path / "runner", filter="data")
    if carried == "the store alone":
        shutil.rmtree(folder / "artifacts")
    os.utime(folder / "model.py", ns=(1, 1))

    result = run_json(folder)

    assert ran(result) == []
    assert digests(result) == digests(built[1])
    for variant in VARIANTS:
        one, other = (place / "artifacts" / "small" / variant for place in (built[0], folder))
        assert (one / "model.onnx").read_bytes() == (other / "model.onnx").read_bytes()
