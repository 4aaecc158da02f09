"""Children start, say why they failed, and end with their parent."""

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import psutil
import pytest

from pipelines.processes import Processes
from shared.errors import Unavailable

ROOT = Path(__file__).parents[2]


def test_a_child_that_ends_early_is_told_with_its_log(tmp_path: Path) -> None:
    with Processes(tmp_path / "logs", {"TRILLIUM_HOME": str(tmp_path)}) as processes:
        processes.start("wrong", "artifacts", "show", "nothing@1")
        with pytest.raises(Unavailable, match="wrong ended before it was ready"):
            processes.wait("wrong", lambda: False)
        assert "error:" in processes.tail("wrong")


def test_children_end_when_the_parent_is_killed(tmp_path: Path) -> None:
    program = textwrap.dedent(
        """
        import sys
        from pathlib import Path
        from pipelines.processes import Processes
        with Processes(Path(sys.argv[1]) / "logs", {"TRILLIUM_HOME": sys.argv[1]}) as processes:
            processes.start("broker", "broker")
            processes.wait("broker", lambda: "127.0.0.1" in processes.tail("broker"))
            print("up", flush=True)
            sys.stdin.read()
        """
    )
    parent = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", program, str(tmp_path)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert parent.stdout is not None
    assert parent.stdout.readline() == "up\n"
    children = psutil.Process(parent.pid).children(recursive=True)
    assert children
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    _gone, alive = psutil.wait_procs(children, timeout=20)
    assert not alive
    for stream in (parent.stdin, parent.stdout):
        assert stream is not None
        stream.close()
