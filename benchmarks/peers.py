"""The heads that are compared: one set of NeRDm parameters, six ways to compute with it, and what it replaces."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from benchmarks.workloads import DTYPES, WIDE_HIDDEN
from nerd_fast import NeRDm, functional, reference
from nerd_fast.distances import boundary_distances

MODES = ("inference", "forward", "backward", "training")


@dataclass
class Peer:
    """A way to turn features into logits, and the parameters whose gradients a training step wants."""

    name: str
    call: Callable
    parameters: list


@dataclass
class Head:
    """NeRDm for one case: the module, its parameters by the paper's names, and its options."""

    module: NeRDm
    case: object
    device: torch.device

    @property
    def arguments(self):
        return arguments_of(self.module)

    @property
    def parameters(self):
        classifier, weights, biases, bias = self.arguments
        return [classifier, *weights, *biases, bias]


def arguments_of(module):
    """(classifier, weights, biases, bias) of a NeRDm, as `nerd_fast.reference.nerdm` takes them after x."""
    layers = module.calibrator[::2]
    return module.classifier, [layer.weight for layer in layers], [layer.bias for layer in layers], module.bias


def make_head(case, device, seed=0):
    """A NeRDm head away from its start: the last calibrator layer is random, so that no term of it vanishes."""
    torch.manual_seed(seed)
    workload = case.workload
    module = NeRDm(
        workload.channels,
        workload.labels,
        spatial_dims=len(workload.spatial),
        hidden_channels=case.hidden,
        bias=True,  # the convolution that it replaces has one
        backend="triton" if device.type == "cuda" else "torch",
    )
    nn.init.normal_(module.calibrator[-1].weight, std=case.hidden[-1] ** -0.5)
    nn.init.normal_(module.bias)
    return Head(module.to(device), case, device)


def conv1x1(head):
    """The 1x1 convolution that NeRD replaces: the floor."""
    workload = head.case.workload
    kind = {2: nn.Conv2d, 3: nn.Conv3d}[len(workload.spatial)]
    conv = kind(workload.channels, workload.labels, 1).to(head.device, DTYPES[head.case.dtype])
    with torch.no_grad():
        conv.weight.copy_(head.module.classifier.view_as(conv.weight))
        conv.bias.copy_(head.module.bias)
    return Peer("conv1x1", conv, [conv.weight, conv.bias])


def paper(head):
    """The paper read literally: a position vector for every pixel of every sample, the MLP over all of them."""
    classifier, weights, biases, bias = head.arguments

    def call(x):
        v = boundary_distances(x.shape[2:], device=x.device)
        v = v.expand(len(x), *v.shape).movedim(1, -1).flatten(0, -2)
        calibration = reference.f(v.T, weights, biases).T
        inverse_sigma, minus_mu_over_sigma = calibration.view(len(x), *x.shape[2:], -1).movedim(-1, 1).chunk(2, 1)
        normalised = x * inverse_sigma + minus_mu_over_sigma
        s = torch.einsum("kc,bc...->bk...", classifier, normalised)
        return (s + bias.view(-1, *[1] * (x.dim() - 2))).to(x.dtype)

    return Peer("paper", call, head.parameters)


def eager_reference(head):
    """`nerd_fast.reference`: the calibrator once per position, broadcast over the batch."""
    return Peer("reference", lambda x: reference.nerdm(x, *head.arguments), head.parameters)


def compiled(head):
    """`torch.compile` of the reference."""
    arguments = head.arguments
    call = torch.compile(lambda x: reference.nerdm(x, *arguments), dynamic=False)
    return Peer("compiled", call, head.parameters)


def compiled_folded(head):
    """`torch.compile` of W(v), beta(v) and one contraction: the most that a compiler can be handed."""
    arguments = head.arguments
    return Peer("compiled-folded", torch.compile(lambda x: folded(x, *arguments), dynamic=False), head.parameters)


def folded(x, classifier, weights, biases, bias):
    """NeRDm as `s_k = sum_c x_c W_kc(v) + beta_k(v)`; the sum is written so that a compiler need not store x * W."""
    v = boundary_distances(x.shape[2:], device=x.device)
    a, b = reference.f(v, weights, biases).chunk(2)
    to_map = [1] * (x.dim() - 2)
    weight = classifier.view(*classifier.shape, *to_map) * a
    beta = torch.einsum("kc,c...->k...", classifier, b) + bias.view(-1, *to_map)
    return ((x[:, None] * weight).sum(2) + beta).to(x.dtype)


def fused(head):
    """Ours: the Triton kernels on a GPU, the torch backend on a CPU."""
    return Peer("fused", head.module, head.parameters)


def frozen(head):
    """Ours without the MLP, for inference with frozen weights: `apply_position_map`."""
    with torch.no_grad():
        weight, beta = head.module.position_map(head.case.workload.spatial)
        weight = weight.contiguous(memory_format=memory_format(head.case))
    return Peer("frozen", lambda x: functional.apply_position_map(x, weight, beta), [])


PEERS = {
    "conv1x1": conv1x1,
    "paper": paper,
    "reference": eager_reference,
    "compiled": compiled,
    "compiled-folded": compiled_folded,
    "fused": fused,
    "frozen": frozen,
}


def modes_of(name):
    """The modes that a peer is measured in: inference alone for frozen weights."""
    return ("inference",) if name == "frozen" else MODES


def is_nerd(name):
    """Whether a peer computes NeRDm: all but the convolution do."""
    return name != "conv1x1"


def check_names(names):
    """Raises ValueError for a name that is no peer."""
    for name in names:
        if name not in PEERS:
            raise ValueError(f"--benchmark-peer: unknown peer {name!r}; expected one of {', '.join(PEERS)}")


def peers_of(case, device_type):
    """The peers that a case is measured with.

    A compiled peer costs seconds of its compiler in every case, and on a CPU the paper's form seconds of every case:
    they run in the plain case of each workload, in the wide one of `wmh`, and on a GPU in every case of `wmh` and
    `large-batch`, the paper's form in all.
    """
    if case.is_plain or (case.workload.name == "wmh" and case.hidden == WIDE_HIDDEN):
        return list(PEERS)
    if device_type == "cpu":
        return [name for name in PEERS if name not in ("paper", "compiled", "compiled-folded")]
    if case.workload.name in ("wmh", "large-batch"):
        return list(PEERS)
    return [name for name in PEERS if name not in ("compiled", "compiled-folded")]


def make_inputs(case, device, seed=1):
    """Features x (requiring gradients) and the gradient of the logits, in the case's dtype and layout.

    Both have mean 1: sums over up to ten million pixels of mean 0 now and then come out near 0, and an error relative
    to that says nothing.
    """
    generator = torch.Generator(device).manual_seed(seed)
    workload = case.workload

    def draw(channels):
        shape = (workload.batch, channels, *workload.spatial)
        values = torch.randn(shape, generator=generator, device=device).add_(1).to(DTYPES[case.dtype])
        return values.contiguous(memory_format=memory_format(case))

    return draw(workload.channels).requires_grad_(), draw(workload.labels)


def memory_format(case):
    if case.layout == "contiguous":
        return torch.contiguous_format
    return torch.channels_last if len(case.workload.spatial) == 2 else torch.channels_last_3d
