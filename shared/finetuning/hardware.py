"""What this machine computes fastest with."""

from pathlib import Path
from typing import Literal

Precision = Literal["fp32", "bf16"]


def best_precision(cpu_flags: Path = Path("/proc/cpuinfo")) -> Precision:
    """Return bf16 where a GPU or the processor (avx512_bf16, AMX) computes in it, else fp32.

    Elsewhere bf16 is emulated and several times slower.
    """
    import torch

    if torch.cuda.is_available():
        return "bf16" if torch.cuda.is_bf16_supported() else "fp32"
    try:
        flags = cpu_flags.read_text("utf-8")
    except OSError:
        return "fp32"
    return "bf16" if "avx512_bf16" in flags or "amx_bf16" in flags else "fp32"
