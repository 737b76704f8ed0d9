"""A store in a folder: blobs by digest, graphs at its root, the action cache beside them.

::

    blobs/ab/abcd…      content, read-only
    <digest>.onnx       graphs; their weights of 4 KiB and more are external data in blobs/
    actions.sqlite      traces and what is remembered of files
    answers/            remembered answers of commands
    claims/ tmp/ quarantine/
    .gitignore          so that a store in a project is no part of it
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

from onnxbuild.core import files
from onnxbuild.core.artifact import Artifact
from onnxbuild.core.digest import PREFIX, Content, digest_bytes, digest_file
from onnxbuild.core.trace import Trace
from onnxbuild.stores.actions import Actions, Signature
from onnxbuild.stores.claims import FileClaim

FOLDERS = ("blobs", "tmp", "claims", "quarantine")


class LocalStore:
    """A content store and an action cache in one folder."""

    def __init__(self, path: str) -> None:
        self.root = os.path.abspath(path)
        self.quarantined: list[str] = []
        """Digests whose content was found damaged by this process, in order."""
        self._whole: set[str] = set()
        self.actions = Actions(os.path.join(self.root, "actions.sqlite"))
        is_new = not os.path.lexists(self.root)
        try:
            for name in FOLDERS:
                os.makedirs(os.path.join(self.root, name), exist_ok=True)
            if is_new:
                # As caches of other tools do; a folder that was there may hold a user's own .gitignore.
                path = os.path.join(self.root, ".gitignore")
                files.write(path, b"*\n", os.path.join(self.root, "tmp"))
        except OSError as error:
            raise files.explain(error, self.root) from error

    def blob_path(self, digest: str) -> str:
        """Say where the blob of a digest lies."""
        name = digest.removeprefix(PREFIX)
        return os.path.join(self.root, "blobs", name[:2], name)

    def graph_path(self, digest: str) -> str:
        """Say where the graph of a digest lies."""
        return os.path.join(self.root, digest.removeprefix(PREFIX) + ".onnx")

    def path(self, artifact: Artifact) -> str:
        """Say where the content of an artifact lies."""
        if artifact.kind == "model":
            return self.graph_path(artifact.digest)
        return self.blob_path(artifact.digest)

    def put_bytes(self, content: Content) -> str:
        """Keep `content` as a blob and give its digest. Raises `StoreError`."""
        digest = digest_bytes(content)
        self._put(digest, self.blob_path(digest), content)
        return digest

    def put_file(self, path: str) -> str:
        """Keep the content of a file as a blob. A file inside the store is moved, others are copied."""
        if not os.path.abspath(path).startswith(os.path.join(self.root, "")):
            path = files.copy(path, os.path.join(self.root, "tmp"))
        digest = digest_file(path)
        target = self.blob_path(digest)
        if self._is_whole(digest, target):
            os.unlink(path)
        else:
            files.adopt(path, target)
            self._whole.add(digest)
        return digest

    def put_graph(self, content: bytes, parts: Iterable[str], weights_size: int) -> Artifact:
        """Keep a serialized graph whose external data are blobs of this store."""
        digest = digest_bytes(content)
        self._put(digest, self.graph_path(digest), content)
        return Artifact(
            kind="model", digest=digest, size=len(content) + weights_size, parts=tuple(parts)
        )

    def damaged(self, artifact: Artifact) -> tuple[str, ...]:
        """Give the digests of an artifact's content that are missing or damaged."""
        if artifact.inline is not None:
            return ()
        places = [(artifact.digest, self.path(artifact))]
        places += [(digest, self.blob_path(digest)) for digest in artifact.parts]
        return tuple(digest for digest, path in places if not self._is_whole(digest, path))

    @contextmanager
    def folder(self) -> Iterator[str]:
        """Make a private temporary folder inside the store, removed at the end."""
        path = tempfile.mkdtemp(prefix=f"{os.getpid()}-", dir=os.path.join(self.root, "tmp"))
        try:
            yield path
        finally:
            shutil.rmtree(path)

    def traces(self, key: str) -> tuple[Trace, ...]:
        """Give all traces of a key, oldest first."""
        return self.actions.traces(key)

    def record(self, trace: Trace) -> None:
        """Keep a trace."""
        self.actions.record(trace)

    def claim(self, key: str) -> FileClaim:
        """Try to be the one that runs `key`, without waiting."""
        return FileClaim(os.path.join(self.root, "claims", key.removeprefix(PREFIX)))

    def set_aside(self) -> str:
        """Put a damaged action cache into ``quarantine/``, and give its path there."""
        return self.actions.set_aside(os.path.join(self.root, "quarantine"))

    def known_files(self) -> dict[str, tuple[Signature, str]]:
        """Give the remembered digests of files."""
        return self.actions.known_files()

    def remember_files(self, known: Mapping[str, tuple[Signature, str]]) -> None:
        """Remember digests of files."""
        self.actions.remember_files(known)

    def close(self) -> None:
        """Close what is open."""
        self.actions.close()

    def _put(self, digest: str, target: str, content: Content) -> None:
        if not self._is_whole(digest, target):
            files.write(target, content, os.path.join(self.root, "tmp"))
            self._whole.add(digest)

    def _is_whole(self, digest: str, path: str) -> bool:
        """Read a file once in this process and compare; what is damaged goes to quarantine."""
        if digest in self._whole and os.path.exists(path):
            return True
        try:
            found = digest_file(path)
        except FileNotFoundError:
            return False
        except OSError as error:
            raise files.explain(error, path) from error
        if found == digest:
            self._whole.add(digest)
            return True
        os.rename(path, os.path.join(self.root, "quarantine", os.path.basename(path)))
        self.quarantined.append(digest)
        return False
