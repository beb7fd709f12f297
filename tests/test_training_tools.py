"""The heads among PyTorch's training tools: checkpointing, autocast and scaling, copies, averaging, DDP, threads."""

import copy
import io
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.checkpoint import checkpoint

from nerd_fast import NeRDc, NeRDm
from nerd_fast.backends import folded

HEADS = [NeRDm, NeRDc]


def trained(head_class, dtype=None):
    """A head whose calibrator varies with the position."""
    torch.manual_seed(0)
    head = head_class(4, 2, hidden_channels=(8, 8), bias=True, dtype=dtype)
    nn.init.normal_(head.calibrator[-1].weight)
    return head


def network(head_class, dtype=None):
    torch.manual_seed(1)
    return nn.Sequential(nn.Conv2d(1, 4, 3, padding=1, dtype=dtype), nn.ReLU(), trained(head_class, dtype))


def gradients(run, parameters, x):
    """The logits and, for a loss that is not linear in them, the gradients of x and the parameters."""
    x = x.detach().requires_grad_()
    logits = run(x)
    return [logits.detach(), *torch.autograd.grad(logits.float().square().mean(), [x, *parameters])]


@pytest.mark.parametrize("use_reentrant", [True, False])
@pytest.mark.parametrize("head_class", HEADS)
def test_activation_checkpointing_gives_the_same_gradients(head_class, use_reentrant):
    net, x = network(head_class), torch.randn(2, 1, 6, 7)
    x.requires_grad_()
    logits = net(x)
    logits.square().mean().backward()
    expected = [x.grad, *[p.grad for p in net.parameters()]]
    x.grad = None
    net.zero_grad(set_to_none=True)
    again = checkpoint(net, x, use_reentrant=use_reentrant)
    again.square().mean().backward()
    assert torch.equal(again, logits)
    assert all(map(torch.equal, [x.grad, *[p.grad for p in net.parameters()]], expected))


@pytest.mark.parametrize("head_class", HEADS)
def test_functional_call_uses_and_differentiates_the_parameters_given(head_class):
    head, other, x = trained(head_class), trained(head_class), torch.randn(2, 4, 6, 7)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.mul_(1.5)
    given = {name: parameter.detach().clone().requires_grad_() for name, parameter in other.named_parameters()}
    expected = gradients(other, list(other.parameters()), x)
    called = gradients(lambda x: torch.func.functional_call(head, given, (x,)), list(given.values()), x)
    assert all(map(torch.equal, called, expected))
    assert all(parameter.grad is None for parameter in head.parameters())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("head_class", HEADS)
def test_autocast_hands_the_head_its_dtype_and_keeps_float32_parameters(head_class, dtype):
    net, x = network(head_class), torch.randn(2, 1, 6, 7)
    with torch.autocast("cpu", dtype):
        features = net[:2](x)
        logits, *grads = gradients(net, list(net.parameters()), x)
        alone = net[2](features)
    assert features.dtype == logits.dtype == dtype
    assert torch.equal(logits, alone)
    assert torch.equal(alone, net[2](features))
    assert all(grad.dtype == torch.float32 for grad in grads)
    torch.testing.assert_close(logits.float(), net(x), atol=0.1, rtol=0.05)


@pytest.mark.parametrize("head_class", HEADS)
def test_scaled_gradients_take_the_unscaled_step_and_an_overflow_takes_none(head_class):
    x = torch.randn(2, 1, 6, 7)
    plain, scaled = network(head_class), network(head_class)
    optimizers = [torch.optim.SGD(net.parameters(), lr=0.1) for net in (plain, scaled)]
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    plain(x).square().mean().backward()
    optimizers[0].step()
    scaler.scale(scaled(x).square().mean()).backward()
    scaler.step(optimizers[1])
    scaler.update()
    torch.testing.assert_close(scaled.state_dict(), plain.state_dict())
    before = copy.deepcopy(scaled.state_dict())
    optimizers[1].zero_grad()
    scaler.scale(scaled(x).mul(float("inf")).mean()).backward()
    scaler.step(optimizers[1])
    scaler.update()
    torch.testing.assert_close(scaled.state_dict(), before, rtol=0, atol=0)
    assert scaler.get_scale() == 512.0


def saved_and_loaded(head):
    file = io.BytesIO()
    torch.save(head, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


def from_state_dict(head):
    file = io.BytesIO()
    torch.save(head.state_dict(), file)
    file.seek(0)
    fresh = type(head)(4, 2, hidden_channels=(8, 8), bias=True)
    fresh.load_state_dict(torch.load(file, weights_only=True))
    return fresh


@pytest.mark.parametrize(
    "copied", [copy.deepcopy, lambda head: pickle.loads(pickle.dumps(head)), saved_and_loaded, from_state_dict]
)
@pytest.mark.parametrize("head_class", HEADS)
def test_a_copy_computes_the_same_and_is_independent(head_class, copied):
    head, x = trained(head_class), torch.randn(2, 4, 6, 7)
    before = head(x)
    twin = copied(head)
    assert torch.equal(twin(x), before)
    with torch.no_grad():
        for parameter in twin.parameters():
            parameter.zero_()
    assert torch.equal(head(x), before)
    assert torch.equal(twin(x), torch.zeros_like(before))


@pytest.mark.parametrize("head_class", HEADS)
def test_an_averaged_model_follows_the_parameters(head_class):
    head, x = trained(head_class), torch.randn(1, 4, 6, 7)
    averaged = AveragedModel(head, multi_avg_fn=get_ema_multi_avg_fn(0.5))
    averaged.update_parameters(head)
    assert torch.equal(averaged(x), head(x))
    expected = copy.deepcopy(head)
    with torch.no_grad():
        for parameter, mean in zip(head.parameters(), expected.parameters(), strict=True):
            parameter.add_(1)
            mean.add_(0.5)
    averaged.update_parameters(head)
    torch.testing.assert_close(averaged(x), expected(x))


@pytest.mark.parametrize("head_class", HEADS)
def test_a_write_to_the_data_of_a_parameter_shows_at_once(head_class):
    head, x = trained(head_class), torch.randn(1, 4, 6, 7)
    head(x)
    head.calibrator[-1].weight.data.mul_(2)
    fresh = from_state_dict(head)
    assert torch.equal(head(x), fresh(x))


@pytest.mark.parametrize("head_class", HEADS)
def test_threads_calling_one_head_get_the_values_of_one_thread(head_class):
    head = trained(head_class)
    parameters = list(head.parameters())
    inputs = [torch.randn(2, 4, 20 + i, 30, generator=torch.Generator().manual_seed(i)) for i in range(4)]
    expected = [gradients(head, parameters, x) for x in inputs]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda i: gradients(head, parameters, inputs[i % 4]), range(40)))
    assert all(all(map(torch.equal, found[i], expected[i % 4])) for i in range(40))


def test_threads_asking_for_different_precisions_leave_pytorchs_setting(monkeypatch):
    setting, compute = torch.get_float32_matmul_precision(), folded.calibrator.forward
    x, first, second = torch.randn(1, 4, 8, 8), NeRDm(4, 2, precision="tf32"), NeRDm(4, 2, precision="ieee")
    other = threading.Thread(target=second, args=(x,))
    other_computes, first_is_done = threading.Event(), threading.Event()

    def overlapping(*arguments):
        if threading.current_thread() is other:
            other_computes.set()
            first_is_done.wait(5)
        else:
            other.start()
            other_computes.wait(0.2)  # in vain where heads take turns
        return compute(*arguments)

    monkeypatch.setattr(folded.calibrator, "forward", overlapping)
    try:
        first(x)
        first_is_done.set()
        other.join()
        assert other_computes.is_set()
        assert torch.get_float32_matmul_precision() == setting
    finally:
        torch.set_float32_matmul_precision(setting)


def batch():
    generator = torch.Generator().manual_seed(2)
    return torch.randn(4, 1, 6, 7, generator=generator, dtype=torch.float64)


def train_on_half(rank, folder):
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", f"file://{folder}/store", rank=rank, world_size=2)
    try:
        for head_class in HEADS:
            net = DistributedDataParallel(network(head_class, torch.float64))
            for _ in range(2):  # the second step fails if a parameter had no gradient in the first
                net.zero_grad()
                net(batch()[2 * rank : 2 * rank + 2]).square().mean().backward()
            torch.save([parameter.grad for parameter in net.parameters()], f"{folder}/{head_class.__name__}{rank}.pt")
        del net  # it holds the process group, whose threads must have ended before the process does
        torch.distributed.barrier()
    finally:
        torch.distributed.destroy_process_group()


@pytest.mark.slow
@pytest.mark.skipif(not torch.distributed.is_available(), reason="this PyTorch was built without torch.distributed")
def test_two_processes_get_the_gradients_of_one(tmp_path):
    torch.multiprocessing.spawn(train_on_half, (str(tmp_path),), nprocs=2)
    for head_class in HEADS:
        net = network(head_class, torch.float64)
        net(batch()).square().mean().backward()
        expected = [parameter.grad for parameter in net.parameters()]
        for rank in (0, 1):
            found = torch.load(tmp_path / f"{head_class.__name__}{rank}.pt")
            torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)
