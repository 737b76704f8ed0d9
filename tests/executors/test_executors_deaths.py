"""How the end of a process is explained."""

from __future__ import annotations

import signal

import pytest

from onnxbuild.executors.deaths import FULL, count_oom_kills, explain_death, name_exit


@pytest.mark.parametrize(
    ("status", "oom_kills", "expected", "what"),
    [
        pytest.param(3 << 8, 0, "failed", "exit code 3", id="exit"),
        pytest.param(FULL << 8, 0, "failed", "the disk of the store is full", id="full disk"),
        pytest.param(0, 0, "failed", "exit code 0", id="exit without a result"),
        pytest.param(signal.SIGSEGV, 0, "failed", "native code crashed (SIGSEGV)", id="crash"),
        pytest.param(signal.SIGABRT, 3, "failed", "native code crashed (SIGABRT)", id="abort"),
        pytest.param(signal.SIGKILL, 0, "failed", "killed by SIGKILL", id="killed"),
        pytest.param(signal.SIGKILL, 1, "out of memory", "at 2.50 GB", id="killed for memory"),
        pytest.param(signal.SIGTERM, 1, "failed", "killed by SIGTERM", id="terminated"),
        pytest.param(60, 0, "failed", "signal 60", id="a signal without a name"),
    ],
)
def test_the_end_of_a_process_is_named(status, oom_kills, expected, what):
    """The user reads a reason, not a wait status."""
    death = explain_death(status, memory=2_500_000_000, oom_kills=oom_kills)

    assert death.status == expected
    assert what in death.what
    assert death.hint


def test_kills_for_memory_are_counted():
    """The kernel's counters are read where there are any."""
    assert count_oom_kills() >= 0


def test_an_exit_code_of_a_subprocess_is_named():
    """A negative code is a signal."""
    assert name_exit(-9) == "killed by SIGKILL"
    assert name_exit(2) == "exit code 2"
