"""Run a trillium command that ends when its parent does, however the parent ends.

The parent holds the other end of this process's standard input and never writes: an end of file there means
that the parent is gone, by SIGKILL too, and the command is asked to stop as if by SIGTERM.
"""

import os
import signal
import sys
import threading

from pipelines.cli import main


def _end_with_parent() -> None:
    while os.read(0, 1024):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    threading.Thread(target=_end_with_parent, daemon=True).start()
    main(sys.argv[1:])
