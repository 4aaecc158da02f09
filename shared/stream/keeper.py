"""Run a command that ends when its parent does: `python -m shared.stream.keeper COMMAND…`.

The parent holds the other end of this process's standard input and never writes. When that closes,
or this process gets SIGTERM, the command gets SIGTERM and after 20 seconds SIGKILL.
"""

import os
import signal
import subprocess
import sys
import threading

STOP_S = 20.0  # Kafka writes its index files before it ends


def keep(command: list[str]) -> int:
    """Run `command` to its end and return its exit code."""
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    told = threading.Event()

    def end(*_: object) -> None:
        if not told.is_set():
            told.set()
            child.terminate()
            threading.Timer(STOP_S, child.kill).start()

    def watch() -> None:
        while os.read(0, 1024):
            pass
        end()

    signal.signal(signal.SIGTERM, end)
    threading.Thread(target=watch, daemon=True).start()
    return child.wait()


if __name__ == "__main__":
    code = keep(sys.argv[1:])
    sys.stdout.flush()
    os._exit(code if code >= 0 else 128 - code)  # a timer that still runs must not hold the exit
