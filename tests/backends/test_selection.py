"""Which backend runs a call, and what is said when the one asked for cannot: with fakes, no GPU needed."""

import logging
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch

import nerd_fast
from nerd_fast.backends import folded, fused, selection

HEAD = {"variant": "nerdm", "out_channels": 1, "hidden_channels": (32, 32), "activation": "relu", "precision": "ieee"}


def cuda_features(dtype=torch.float32, spatial=(32, 32)):
    shape = torch.Size((2, 16, *spatial))
    return SimpleNamespace(is_cuda=True, device=torch.device("cuda", 0), dtype=dtype, shape=shape, dim=lambda: 4)


@pytest.fixture(autouse=True)
def _fresh_caches(monkeypatch):
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    fused._obstacle.cache_clear()
    selection._log_once.cache_clear()
    yield
    fused._obstacle.cache_clear()


@pytest.fixture
def ampere(monkeypatch):
    """A GPU of compute capability 8.0 whose driver Triton can use."""
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (8, 0))
    monkeypatch.setattr(fused, "driver_fault", lambda: None)


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
    monkeypatch.setattr(fused.limits, "supports", lambda **configuration: "too wide for any tile")
    expect_refusal("too wide for any tile", caplog)


def test_a_cpu_tensor_is_refused_by_triton_with_what_to_do():
    with pytest.raises(ValueError, match=r"TRITON_INTERPRET=1.*backend='torch' and 'auto' can"):
        nerd_fast.NeRDm(4, backend="triton")(torch.randn(1, 4, 4, 4))


class Driver:
    """Triton's CUDA driver where building it fails as it does on a machine that lacks something."""

    def __init__(self, fault):
        self.fault = fault

    @property
    def utils(self):
        raise self.fault


@pytest.mark.parametrize(
    "fault",
    [
        RuntimeError("Failed to find C compiler. Please specify via CC environment variable"),
        subprocess.CalledProcessError(1, ["gcc", "cuda_utils.c"]),
    ],
    ids=["no compiler", "no headers"],
)
def test_a_launcher_that_triton_cannot_build_is_a_reason_not_a_crash(monkeypatch, caplog, fault):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (8, 0))
    real = fused.import_module
    faulty = SimpleNamespace(runtime=SimpleNamespace(driver=SimpleNamespace(active=Driver(fault))))
    monkeypatch.setattr(fused, "import_module", lambda name: faulty if name == "triton" else real(name))
    fused.driver_fault.cache_clear()
    try:
        expect_refusal(r"cannot build its launcher .*C compiler.*Python\.h", caplog)
    finally:
        fused.driver_fault.cache_clear()


@pytest.mark.usefixtures("ampere")
def test_more_positions_than_32_bits_count_are_a_reason(caplog):
    most = cuda_features(spatial=(2**16, 2**15 - 1))
    assert selection.choose("triton", most, **HEAD) is fused
    expect_refusal(
        "positions in 32 bits: at most 2147483136 in an image, not 2147483648",
        caplog,
        cuda_features(spatial=(2**16, 2**15)),
    )


# PyTorch's settings of float32 products, old and new; each is of the whole process, so each gets its own.
SETTINGS = {
    "pass": "ieee",
    "torch.set_float32_matmul_precision('highest')": "ieee",
    "torch.set_float32_matmul_precision('high')": "tf32",
    "torch.set_float32_matmul_precision('medium')": "tf32",
    "torch.backends.cuda.matmul.allow_tf32 = True": "tf32",
    "torch.backends.cuda.matmul.fp32_precision = 'tf32'": "tf32",
    "torch.backends.cuda.matmul.fp32_precision = 'ieee'": "ieee",
    "torch.backends.fp32_precision = 'tf32'": "tf32",
    "torch.backends.mkldnn.matmul.fp32_precision = 'bf16'": "ieee",
}
FOLLOWS = """
import torch, nerd_fast
from nerd_fast.backends import fused
products = torch.backends.cuda.matmul, torch.backends.mkldnn.matmul
for setting, expected in {settings!r}.items():
    for product in (torch.backends, *products):
        product.fp32_precision = "none"
    torch.set_float32_matmul_precision("highest")
    for product in products:
        product.fp32_precision = "none"
    exec(setting)
    before = [product.fp32_precision for product in products]
    assert fused.resolve_precision(None) == expected, (setting, fused.resolve_precision(None))
    assert fused.resolve_precision("tf32x3") == "tf32x3"
    for precision in (None, "ieee", "tf32"):
        nerd_fast.NeRDm(4, precision=precision, backend="torch")(torch.randn(1, 4, 4, 4))
        assert [product.fp32_precision for product in products] == before, (setting, precision)
"""


def test_precision_follows_every_setting_of_pytorch_and_leaves_it():
    subprocess.run([sys.executable, "-c", FOLLOWS.format(settings=SETTINGS)], check=True)


def test_the_torch_backend_restores_the_precision_it_changed():
    before = torch.get_float32_matmul_precision()
    nerd_fast.NeRDm(4, precision="tf32")(torch.randn(1, 4, 4, 4))
    assert torch.get_float32_matmul_precision() == before
