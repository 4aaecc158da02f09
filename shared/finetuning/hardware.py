"""What this machine computes fastest with."""

from functools import cache
from pathlib import Path
from typing import Literal

Precision = Literal["fp32", "bf16"]
_EXACT = 1e-5  # of the largest number of a product: fp32 is off by 1e-6, bf16 by 2e-3


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


def quicken_fp32() -> None:
    """Let products in fp32 go through oneDNN where that is exact.

    On AMD it is a third faster than what torch takes by itself. The same setting lets oneDNN round to bf16
    where it finds AMX: then a trained model would differ from its exported graph, so that it stays off.
    """
    import torch

    torch.set_float32_matmul_precision("medium" if _medium_is_exact() else "highest")


@cache
def _medium_is_exact() -> bool:
    import torch

    drawn = torch.Generator().manual_seed(0)
    left, right = (torch.randn(256, 384, generator=drawn) for _ in range(2))
    wanted = left.double() @ right.double().T
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        off = (left @ right.T - wanted).abs().max() / wanted.abs().max()
    finally:
        torch.set_float32_matmul_precision(before)
    return bool(off < _EXACT)
