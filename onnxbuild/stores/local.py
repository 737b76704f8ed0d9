"""A store in a folder: blobs by digest, graphs at its root, the action cache beside them.

::

    blobs/ab/abcd…      content, read-only
    <digest>.onnx       graphs; their weights of 4 KiB and more are external data in blobs/
    actions.sqlite      traces and what is remembered of files
    answers/            remembered answers of commands
    leases/             what running builds use
    claims/ tmp/ quarantine/
    .gitignore          so that a store in a project is no part of it
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

from onnxbuild.core import files
from onnxbuild.core.artifact import Artifact
from onnxbuild.core.digest import PREFIX, Content, digest_bytes, digest_file
from onnxbuild.core.trace import Trace
from onnxbuild.errors import StoreError
from onnxbuild.stores.actions import Actions, Signature
from onnxbuild.stores.claims import FileClaim
from onnxbuild.stores.leases import Lease, shared
from onnxbuild.stores.rows import PublishedVariant, fingerprint

FOLDERS = ("blobs", "tmp", "claims", "leases", "quarantine")


class LocalStore:
    """A content store and an action cache in one folder."""

    def __init__(self, path: str) -> None:
        self.root = os.path.abspath(path)
        self.quarantined: list[str] = []
        """Digests whose content was found damaged by this process, in order."""
        self._whole: set[str] = set()
        self._lease: Lease | None = None
        self.actions = Actions(os.path.join(self.root, "actions.sqlite"))
        is_new = not os.path.lexists(self.root)
        self.is_writable = is_new or not os.path.isdir(self.root) or os.access(self.root, os.W_OK)
        """A store that is not serves what it holds; a step that must run is refused in words."""
        if not is_new:
            self._refuse_other()
        if not self.is_writable:
            return
        try:
            for name in FOLDERS:
                os.makedirs(os.path.join(self.root, name), exist_ok=True)
            if is_new:
                # As caches of other tools do; a folder that was there may hold a user's own .gitignore.
                path = os.path.join(self.root, ".gitignore")
                files.write(path, b"*\n", os.path.join(self.root, "tmp"))
        except OSError as error:
            raise files.explain(error, self.root) from error

    def _refuse_other(self) -> None:
        """Refuse a folder in which somebody keeps other things: a store is collected, and never observed."""
        try:
            names = set(os.listdir(self.root))
        except OSError:
            # Said by who first needs something of it.
            return
        own = {*FOLDERS, "answers", ".gitignore"}
        if names - own and not names & {"blobs", "actions.sqlite"}:
            raise StoreError(
                f"the folder is no store, and holds other things: {', '.join(sorted(names - own)[:3])}",
                where=self.root,
                hint="set settings.store or $ONNXBUILD_STORE to a folder of its own",
            )

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
        if self._is_whole(digest, target) and self._touch(target):
            files.remove(path)
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
        with files.private_folder(os.path.join(self.root, "tmp"), f"{os.getpid()}-") as path:
            yield path

    @contextmanager
    def lease(self) -> Iterator[None]:
        """Keep `gc` from what is looked up or put from now on, by whatever process. Raises `StoreError`."""
        if not self.is_writable:
            # Nothing can be removed from it either.
            yield
            return
        try:
            self._lease = Lease(self.root)
        except OSError as error:
            raise files.explain(error, self.root) from error
        try:
            yield
        finally:
            self._lease.release()
            self._lease = None

    def traces(self, key: str) -> tuple[Trace, ...]:
        """Give all traces of a key, oldest first."""
        if self._lease is None:
            return self.actions.traces(key)
        with shared(self.root):
            try:
                self._lease.note(key)
            except OSError as error:
                raise files.explain(error, self.root) from error
            return self.actions.traces(key)

    def use(self, traces: Iterable[Trace]) -> None:
        """Note that these traces served a build just now."""
        self.actions.use(traces)

    def record(self, trace: Trace) -> None:
        """Keep a trace."""
        self.actions.record(trace)

    def claim(self, key: str) -> FileClaim:
        """Try to be the one that runs `key`, without waiting. Raises `StoreError`."""
        try:
            return FileClaim(os.path.join(self.root, "claims", key.removeprefix(PREFIX)))
        except OSError as error:
            raise files.explain(error, self.root) from error

    def announce_variant(
        self, folder: str, contents: Mapping[str, str], traces: Iterable[Trace]
    ) -> None:
        """Remember that a folder is about to be replaced by one with these contents."""
        old = self.variant(folder)
        variant = PublishedVariant(
            contents=contents,
            traces=tuple(sorted({*_marks(traces), *(old.traces if old else ())})),
            before=old.contents if old else {},
        )
        self.actions.note_variant(self._place(folder), variant)

    def note_variant(
        self, folder: str, contents: Mapping[str, str], traces: Iterable[Trace]
    ) -> None:
        """Remember what a folder was published with and rests on: `gc` spares that.

        The folder is named relative to the store, which holds for a project that is moved with its store.
        """
        variant = PublishedVariant(contents=contents, traces=tuple(sorted(_marks(traces))))
        if self.variant(folder) != variant:
            self.actions.note_variant(self._place(folder), variant)

    def variant(self, folder: str) -> PublishedVariant | None:
        """Give what is remembered of a published folder."""
        return self.actions.variant(self._place(folder))

    def _place(self, folder: str) -> str:
        # By real paths: what lies above a link is above its target.
        return os.path.relpath(os.path.realpath(folder), os.path.realpath(self.root))

    def folder_of(self, place: str) -> str:
        """Give the folder that `note_variant` has named."""
        return os.path.normpath(os.path.join(os.path.realpath(self.root), place))

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
        if not (self._is_whole(digest, target) and self._touch(target)):
            files.write(target, content, os.path.join(self.root, "tmp"))
            self._whole.add(digest)

    def _touch(self, path: str) -> bool:
        """Say to `gc` that what lies there is in use again; False when it has just been removed."""
        with shared(self.root):
            try:
                os.utime(path)
            except FileNotFoundError:
                return False
            except PermissionError:
                # Another user's file: one of our own takes its place.
                return False
        return True

    def _is_whole(self, digest: str, path: str) -> bool:
        """Read a file once in this process and compare; what is damaged goes to quarantine."""
        if digest in self._whole and os.path.exists(path):
            return True
        try:
            found = digest_file(path)
        except FileNotFoundError:
            return False
        except IsADirectoryError:
            found = ""
        except OSError as error:
            raise files.explain(error, path) from error
        if found == digest:
            self._whole.add(digest)
            return True
        self.quarantine(path)
        self.quarantined.append(digest)
        return False

    def quarantine(self, path: str) -> None:
        """Put a damaged file aside, where nothing looks for content."""
        target = os.path.join(self.root, "quarantine", os.path.basename(path))
        try:
            if os.path.lexists(target):
                # Of content that was damaged before.
                files.remove_any(target)
            files.rename(path, target)
        except OSError as error:
            raise files.explain(error, path) from error


def _marks(traces: Iterable[Trace]) -> set[tuple[str, str]]:
    return {(trace.key, fingerprint(trace)) for trace in traces}
