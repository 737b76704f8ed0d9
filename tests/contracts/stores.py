"""What every content store and action cache must keep; subclassed once for each implementation."""

from __future__ import annotations

import os

import pytest

from onnxbuild.core.artifact import Artifact
from onnxbuild.core.digest import digest_bytes
from onnxbuild.core.trace import Trace


def make_trace(key: str = "b3:key", **fields) -> Trace:
    values = {
        "ingredients": {"run": "a:b"},
        "observations": (("file", "./x", "b3:1"),),
        "results": {},
    }
    return Trace(key=key, made=1.0, **(values | fields))


class StoreContract:
    """Subclass with a fixture `store`."""

    @pytest.fixture
    def store(self, tmp_path):
        raise NotImplementedError

    def test_content_comes_back_under_its_digest(self, store):
        """What is put is found under the digest of its bytes."""
        digest = store.put_bytes(b"weights")

        with open(store.blob_path(digest), "rb") as file:
            assert file.read() == b"weights"
        assert digest == digest_bytes(b"weights")

    def test_putting_twice_is_putting_once(self, store):
        """The same content has one place."""
        assert store.put_bytes(b"x") == store.put_bytes(b"x")

    def test_file_is_kept_like_bytes(self, store, tmp_path):
        """A file outside the store is copied and stays where it is."""
        path = tmp_path / "file"
        path.write_bytes(b"content")

        digest = store.put_file(str(path))

        assert digest == digest_bytes(b"content")
        assert path.exists()

    def test_graph_names_its_parts(self, store):
        """A model is whole only with all of its weights."""
        weight = store.put_bytes(b"w" * 5000)
        model = store.put_graph(b"graph", [weight], 5000)

        assert model.size == len(b"graph") + 5000
        assert store.damaged(model) == ()
        os.unlink(store.blob_path(weight))
        assert store.damaged(model) == (weight,)

    def test_inline_content_is_always_whole(self, store):
        """Small JSON travels in its trace and needs no blob."""
        artifact = Artifact(kind="json", digest="b3:none", size=2, inline="{}")

        assert store.damaged(artifact) == ()

    def test_temporary_folder_is_removed(self, store):
        """A private folder is gone afterwards, whatever was written into it."""
        with (
            store.folder() as path,
            open(os.path.join(path, "file"), "w", encoding="utf-8") as file,
        ):
            file.write("x")

        assert not os.path.exists(path)

    def test_traces_come_back_oldest_first(self, store):
        """All traces of a key are kept; the same one twice is one."""
        first = make_trace()
        second = make_trace(observations=(("file", "./x", "b3:2"),))

        for trace in (first, second, first):
            store.record(trace)

        assert store.traces("b3:key") == (first, second)
        assert store.traces("b3:other") == ()

    def test_trace_keeps_everything(self, store):
        """A trace survives with all of its fields."""
        trace = make_trace(
            results={"model": Artifact(kind="model", digest="b3:m", size=3, parts=("b3:w",))},
            grown={"steps": [], "outputs": {}},
            log="b3:log", seconds=1.5, memory=7, build="build", notes={"rules": ["a"]},
        )  # fmt: skip
        store.record(trace)

        assert store.traces("b3:key") == (trace,)

    def test_claim_is_given_once(self, store):
        """Two cannot have the same key; the second is told who has it; after release it is free."""
        first = store.claim("b3:key")
        second = store.claim("b3:key")

        assert first.holder == ""
        assert str(os.getpid()) in second.holder
        first.release()
        second.wait()
        third = store.claim("b3:key")
        assert third.holder == ""
        third.release()
