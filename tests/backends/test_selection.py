"""Which backend runs a call, and what is said when the one asked for cannot: with fakes, no GPU needed."""

import logging
from types import SimpleNamespace

import pytest
import torch

import nerd_fast
from nerd_fast.backends import folded, fused, selection

HEAD = {"variant": "nerdm", "out_channels": 1, "hidden_channels": (32, 32), "activation": "relu", "precision": None}


def cuda_features(dtype=torch.float32):
    return SimpleNamespace(
        is_cuda=True, device=torch.device("cuda", 0), dtype=dtype, shape=(2, 16, 32, 32), dim=lambda: 4
    )


@pytest.fixture(autouse=True)
def _fresh_caches(monkeypatch):
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    fused._obstacle.cache_clear()
    selection._log_once.cache_clear()
    yield
    fused._obstacle.cache_clear()


@pytest.fixture
def ampere(monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (8, 0))


@pytest.mark.usefixtures("ampere")
def test_auto_takes_the_kernels_for_cuda_tensors():
    assert selection.choose("auto", cuda_features(), **HEAD) is fused


def test_auto_takes_torch_for_cpu_tensors():
    assert selection.choose("auto", torch.randn(1, 16, 4, 4), **HEAD) is folded


@pytest.mark.usefixtures("ampere")
def test_torch_is_taken_when_asked_for():
    assert selection.choose("torch", cuda_features(), **HEAD) is folded


def expect_refusal(reason, caplog, features=None):
    """`triton` raises with the reason; `auto` runs torch and logs the reason once, at INFO."""
    features = features or cuda_features()
    with pytest.raises(ValueError, match=reason):
        selection.choose("triton", features, **HEAD)
    with caplog.at_level(logging.INFO, "nerd_fast"):
        for _ in range(3):
            assert selection.choose("auto", features, **HEAD) is folded
    assert [record.levelname for record in caplog.records] == ["INFO"]
    assert caplog.records[0].getMessage().startswith("using the torch backend: ")


@pytest.mark.usefixtures("ampere")
@pytest.mark.parametrize("fault", [ImportError("No module named 'triton'"), RuntimeError("broken libtriton.so")])
def test_missing_or_broken_triton_is_a_reason_not_a_crash(monkeypatch, caplog, fault):
    def import_module(name):
        raise fault

    monkeypatch.setattr(fused, "import_module", import_module)
    expect_refusal("Triton cannot be imported.*pip install triton", caplog)


def test_a_card_older_than_turing_is_a_reason(monkeypatch, caplog):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (6, 1))
    expect_refusal(r"7\.5 or newer.*6\.1", caplog)


@pytest.mark.usefixtures("ampere")
def test_float64_features_are_a_reason(caplog):
    expect_refusal("not torch.float64", caplog, cuda_features(torch.float64))


@pytest.mark.usefixtures("ampere")
def test_what_the_kernels_do_not_support_is_a_reason(monkeypatch, caplog):
    kernels = SimpleNamespace(supports=lambda **configuration: "too wide for any tile")
    monkeypatch.setattr(fused, "_kernels", lambda: kernels)
    expect_refusal("too wide for any tile", caplog)


def test_a_cpu_tensor_is_refused_by_triton_with_what_to_do():
    with pytest.raises(ValueError, match=r"TRITON_INTERPRET=1.*backend='torch' and 'auto' can"):
        nerd_fast.NeRDm(4, backend="triton")(torch.randn(1, 4, 4, 4))


@pytest.mark.parametrize(("setting", "precision"), [("highest", "ieee"), ("high", "tf32"), ("medium", "tf32")])
def test_precision_follows_the_setting_of_pytorch_unless_chosen(monkeypatch, setting, precision):
    monkeypatch.setattr(torch, "get_float32_matmul_precision", lambda: setting)
    assert fused.resolve_precision(None) == precision
    assert fused.resolve_precision("tf32x3") == "tf32x3"


def test_the_torch_backend_restores_the_precision_it_changed():
    before = torch.get_float32_matmul_precision()
    nerd_fast.NeRDm(4, precision="tf32")(torch.randn(1, 4, 4, 4))
    assert torch.get_float32_matmul_precision() == before
