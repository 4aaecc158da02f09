"""Run the embedded Kafka broker in the foreground: in memory and bounded, for trying things."""

import threading

from shared.settings import load_settings

SAID = """embedded broker at {bootstrap}
It keeps everything in memory, at most 5 MiB or 100,000 records a partition, and is empty at each start:
for trying and for tests only. For a real broker run `make kafka`. Tell the other commands where it is:

  export TRILLIUM_KAFKA__BOOTSTRAP={bootstrap}

Ctrl-C stops it."""


def command() -> None:
    """Run the embedded Kafka broker until Ctrl-C or SIGTERM; its port is a free one of 127.0.0.1."""
    from shared.stream.broker import serve

    load_settings()
    serve({}, lambda bootstrap: print(SAID.format(bootstrap=bootstrap), flush=True), threading.Event())
