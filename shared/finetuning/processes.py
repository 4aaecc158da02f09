"""Several processes of one training, as torchrun starts them; with one process nothing here does anything."""

import json
import os
from collections.abc import Callable
from typing import TypeVar

import torch
import torch.distributed as dist

T = TypeVar("T")


def begin() -> None:
    """Join the others, where torchrun started more than this one."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1 and not dist.is_initialized():
        from accelerate import PartialState

        PartialState(cpu=not torch.cuda.is_available())


def count() -> int:
    """Return how many processes train together."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def main() -> bool:
    """Return whether this is the one process that writes."""
    return count() == 1 or dist.get_rank() == 0


def wait() -> None:
    """Return when all processes are here."""
    if count() > 1:
        dist.barrier()


def main_first(make: Callable[[], T]) -> T:
    """Return what `make` gives; the others call it when the main process has, and find its files there."""
    if not main():
        wait()
    made = make()
    if main():
        wait()
    return made


def share(make: Callable[[], T]) -> T:
    """Return to every process what `make` gives in the main one, where alone it is called.

    It must be JSON.
    """
    if count() == 1:
        return make()
    # Plain bytes: torch's own way to send objects would unpickle them.
    device = "cuda" if dist.get_backend() == "nccl" else "cpu"
    text = json.dumps(make()).encode() if main() else b""
    size = torch.tensor([len(text)], device=device)
    dist.broadcast(size, 0)
    data = torch.zeros(int(size), dtype=torch.uint8, device=device)
    if main():
        data.copy_(torch.frombuffer(bytearray(text), dtype=torch.uint8))
    dist.broadcast(data, 0)
    made: T = json.loads(bytes(data.cpu().tolist()))
    return made
