"""What only a CUDA GPU can show: compilation, graphs, determinism, mixed precision, size, memory, devices."""

import gc

import pytest
import torch
from torch._dynamo.testing import CompileCounterWithBackend

import nerd_fast
from nerd_fast.backends import fused
from tests.exactness import assert_head_as_exact_as_eager, randomise

pytestmark = pytest.mark.gpu

HEADS = [nerd_fast.NeRDm, nerd_fast.NeRDc]
both = pytest.mark.parametrize("head_class", HEADS)
DTYPES = [torch.float32, torch.float16, torch.bfloat16]


def make(head_class, channels=16, classes=1, **options):
    return randomise(head_class(channels, classes, device="cuda", backend="triton", **options))


def step(head, x):
    """Logits and the gradients of x and of every parameter for one training step."""
    logits = head(x)
    return [logits, *torch.autograd.grad(logits.float().square().mean(), [x, *head.parameters()])]


@both
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize(("channels", "classes", "hidden"), [(16, 1, (32, 32)), (32, 1, (64, 64)), (32, 14, (32, 32))])
def test_the_sizes_of_the_paper_are_as_exact_as_eager(head_class, dtype, channels_last, channels, classes, hidden):
    head = make(head_class, channels, classes, hidden_channels=hidden)
    x = torch.randn(4, channels, 160, 224, dtype=dtype, device="cuda")
    if channels_last:
        x = x.contiguous(memory_format=torch.channels_last)
    assert_head_as_exact_as_eager(head, x)


@both
@pytest.mark.parametrize(("setting", "precision"), [("high", None), ("highest", "tf32x3"), ("highest", "tf32")])
def test_tensor_core_products_stay_within_their_rounding(head_class, setting, precision):
    bound = 2e-5 if precision == "tf32x3" else 2e-2
    head = make(head_class, precision=precision)
    exact = make(head_class, precision="ieee")
    exact.load_state_dict(head.state_dict())
    x = torch.randn(2, 16, 64, 64, device="cuda", requires_grad=True)
    torch.set_float32_matmul_precision(setting)
    try:
        ours = step(head, x)
    finally:
        torch.set_float32_matmul_precision("highest")
    for tensor, expected in zip(ours, step(exact, x), strict=True):
        assert (tensor - expected).abs().max() <= bound * expected.abs().max()


@both
def test_inductor_compiles_the_head_whole_and_once_for_every_size(head_class):
    head = make(head_class)
    backend = CompileCounterWithBackend("inductor")
    compiled = torch.compile(head, fullgraph=True, dynamic=True, backend=backend)
    for batch, height, width in [(2, 32, 48), (3, 40, 56), (5, 64, 33)]:
        x = torch.randn(batch, 16, height, width, device="cuda", requires_grad=True)
        for ours, expected in zip(step(compiled, x), step(head, x), strict=True):
            assert torch.equal(ours, expected)
    assert backend.frame_count == 1


@both
def test_a_captured_training_step_replays_to_the_same_bits(head_class):
    head = make(head_class)
    x = torch.randn(4, 16, 64, 96, device="cuda", requires_grad=True)
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            step(head, x)
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        captured = step(head, x)
    with torch.no_grad():
        x.copy_(torch.randn_like(x))
    graph.replay()
    torch.cuda.synchronize()
    assert all(torch.equal(ours, expected) for ours, expected in zip(captured, step(head, x), strict=True))


@both
@pytest.mark.parametrize("dtype", DTYPES)
def test_fifty_repeats_give_the_same_bits(head_class, dtype):
    head = make(head_class, 32, 2)
    x = torch.randn(14, 32, 160, 224, dtype=dtype, device="cuda", requires_grad=True)
    first = step(head, x)
    for _ in range(49):
        assert all(torch.equal(again, once) for again, once in zip(step(head, x), first, strict=True))


@both
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_network_trains_under_autocast_and_a_grad_scaler(head_class, dtype):
    network = torch.nn.Sequential(
        torch.nn.Conv2d(2, 16, 3, padding=1), torch.nn.ReLU(), head_class(16, 1, backend="triton", bias=True)
    ).cuda()
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-2)
    scaler = torch.amp.GradScaler("cuda", enabled=dtype == torch.float16)
    x = torch.randn(8, 2, 48, 48, device="cuda")
    target = (x.sum(1, keepdim=True) > 0).float()
    losses = []
    for _ in range(60):
        optimizer.zero_grad()
        with torch.autocast("cuda", dtype=dtype):
            logits = network(x)
            loss = torch.nn.functional.binary_cross_entropy_with_logits(logits.float(), target)
        assert logits.dtype == dtype
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]


@both
def test_more_than_two_to_the_31_elements(head_class):
    batch, channels, size = 132, 16, 1024
    elements = batch * channels * size * size
    assert elements > 2**31
    needed = 2 * 2 * elements + 2**31
    free, _ = torch.cuda.mem_get_info()
    if free < needed:
        pytest.skip(f"needs {needed / 2**30:.0f} GiB of free GPU memory, found {free / 2**30:.0f}")
    head = make(head_class)
    x = torch.zeros(batch, channels, size, size, dtype=torch.bfloat16, device="cuda")
    x[-1].normal_()
    x.requires_grad_()
    logits = head(x)
    logits[-1].float().sum().backward()
    last = x.detach()[-1:].clone().requires_grad_()
    expected = head(last)
    expected.float().sum().backward()
    assert torch.equal(logits[-1:], expected)
    assert torch.equal(x.grad[-1:], last.grad)
    assert not x.grad[0].any()


@both
def test_running_out_of_memory_raises_and_leaves_no_leak(head_class):
    head = make(head_class)
    small = torch.randn(1, 16, 64, 64, device="cuda")
    head(small)
    torch.cuda.synchronize()
    before = torch.cuda.memory_allocated()
    large = torch.randn(1, 16, 64, 64, device="cuda").expand(2**20, 16, 64, 64)
    with pytest.raises(torch.cuda.OutOfMemoryError):
        head(large.requires_grad_()).sum().backward()  # its gradient alone would take 256 GiB
    del large
    gc.collect()  # the traceback of what was raised holds the frames, and they the tensors
    torch.cuda.empty_cache()
    assert torch.cuda.memory_allocated() <= before
    head(small)


@both
def test_training_memory_beyond_the_outputs_does_not_grow_with_the_batch(head_class):
    head = make(head_class)

    def workspace(batch):
        x = torch.randn(batch, 16, 160, 224, device="cuda", requires_grad=True)
        grad = torch.randn(batch, 1, 160, 224, device="cuda")
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        head(x).backward(grad)
        torch.cuda.synchronize()
        return torch.cuda.max_memory_allocated() - before - x.numel() * 4 - grad.numel() * 4

    workspace(2)
    assert workspace(64) <= workspace(16) + 2**20


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two GPUs")
@both
def test_features_on_a_second_gpu_are_computed_there(head_class):
    head = make(head_class).to("cuda:1")
    x = torch.randn(2, 16, 32, 32, device="cuda:1", requires_grad=True)
    assert torch.cuda.current_device() == 0
    assert all(tensor.device == x.device for tensor in step(head, x))


def test_auto_takes_the_kernels():
    features = torch.empty(1, 16, 8, 8, device="cuda")
    configuration = {"variant": "nerdm", "out_channels": 1, "hidden_channels": (32, 32), "activation": "relu"}
    assert fused.obstacle(features, precision="ieee", **configuration) is None
