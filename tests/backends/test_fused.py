"""Faults of Triton's kernel cache, made on a real cache by compiling for a GPU that is not there."""

import logging
import os
from types import SimpleNamespace

import pytest
import torch

import nerd_fast
from nerd_fast.backends import folded, fused, selection

triton = pytest.importorskip("triton")

pytestmark = pytest.mark.skipif(
    os.environ.get("TRITON_INTERPRET") == "1", reason="the interpreter neither compiles nor caches"
)


@triton.jit
def copy_kernel(source, target):
    triton.language.store(target, triton.language.load(source))


def compile_instead(*arguments, **options):
    """Stands for a launch: compiles, which reads and writes the cache, and answers with torch's result."""
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    source = ASTSource(copy_kernel, signature={"source": "*fp32", "target": "*fp32"}, constexprs={})
    triton.compile(source, target=GPUTarget("cuda", 80, 32))
    return folded.forward(*arguments, **options)


@pytest.fixture
def cache_folder(monkeypatch, tmp_path):
    """A kernel cache of this test, and heads on a CPU that take the fused backend."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("TRITON_CACHE_DIR", str(folder))
    monkeypatch.setattr(fused, "_kernels", lambda: SimpleNamespace(forward=compile_instead))
    monkeypatch.setattr(selection, "choose", lambda *_, **__: fused)
    selection._log_once.cache_clear()
    return folder


def damage(folder):
    for file in folder.rglob("copy_kernel.json"):
        file.write_bytes(b"\xff\xfe not json")


def block(folder):
    folder.parent.mkdir(exist_ok=True)
    folder.write_text("a file where the folder should be")


def run(backend):
    return nerd_fast.NeRDm(4, backend=backend)(torch.randn(1, 4, 4, 4))


@pytest.mark.parametrize("fault", [damage, block])
def test_triton_names_the_cache_that_it_cannot_use_and_the_remedy(cache_folder, fault):
    if fault is damage:
        run("triton")
    fault(cache_folder)
    with pytest.raises(RuntimeError, match=r"kernel cache in .*cache.*Remove that folder.*TRITON_CACHE_DIR"):
        run("triton")


@pytest.mark.parametrize("fault", [damage, block])
def test_auto_falls_back_to_torch_when_the_cache_cannot_be_used(cache_folder, fault, caplog):
    if fault is damage:
        run("auto")
    fault(cache_folder)
    with caplog.at_level(logging.INFO, "nerd_fast"):
        for _ in range(2):
            assert run("auto").shape == (1, 1, 4, 4)
    assert len(caplog.records) == 1
    assert str(cache_folder) in caplog.records[0].getMessage()


def test_an_error_from_elsewhere_is_not_blamed_on_the_cache(cache_folder, monkeypatch):
    def fail(*_, **__):
        raise KeyError("not the cache")

    monkeypatch.setattr(fused, "_kernels", lambda: SimpleNamespace(forward=fail))
    with pytest.raises(KeyError, match="not the cache"):
        run("auto")
