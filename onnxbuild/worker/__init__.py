"""One job: make a clean place for it, run its function under observation, say how it ended."""

from onnxbuild.worker.running import run

__all__ = ["run"]
