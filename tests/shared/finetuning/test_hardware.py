import pytest
import torch

from shared.finetuning import hardware
from shared.finetuning.hardware import best_precision, quicken_fp32


@pytest.fixture
def precision():
    before = torch.get_float32_matmul_precision()
    hardware._medium_is_exact.cache_clear()
    yield torch.get_float32_matmul_precision
    hardware._medium_is_exact.cache_clear()
    torch.set_float32_matmul_precision(before)


@pytest.mark.parametrize(("flags", "best"), [("avx2", "fp32"), ("avx512_bf16", "bf16"), ("amx_bf16", "bf16")])
def test_bf16_where_the_processor_computes_in_it(tmp_path, monkeypatch, flags, best):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    (tmp_path / "cpuinfo").write_text(f"flags : sse2 {flags}\n", "utf-8")
    assert best_precision(tmp_path / "cpuinfo") == best
    assert best_precision(tmp_path / "none") == "fp32"


@pytest.mark.parametrize(("rows", "width", "columns"), [(8, 32, 64), (256, 384, 256), (512, 1536, 384)])
def test_products_in_fp32_stay_exact(precision, rows, width, columns):
    quicken_fp32()
    drawn = torch.Generator().manual_seed(1)
    left, right = torch.randn(rows, width, generator=drawn), torch.randn(columns, width, generator=drawn)
    wanted = left.double() @ right.double().T
    found = torch.nn.functional.linear(left, right)
    assert float((found - wanted).abs().max() / wanted.abs().max()) < 1e-5


def test_what_rounds_is_left_off(precision, monkeypatch):
    monkeypatch.setattr(hardware, "_EXACT", 0.0)  # as where oneDNN finds AMX
    quicken_fp32()
    assert precision() == "highest"
