"""Networks of other libraries: each is operated on, or refused, as docs/networks.md says."""

import copy

import pytest
import torch

from nerd_fast import NeRDc, NeRDm, NeRDNorm, replace_head
from nerd_fast.surgery.known_networks import known_heads
from tests.surgery.networks import NETWORKS
from tests.surgery.small import Wrapped
from tests.surgery.table import DOCUMENT, row
from tests.surgery.trials import heads_in, tensors_in, tried

pytestmark = pytest.mark.networks
HEADS = [(network, (NeRDm, NeRDc)[i % 2]) for i, network in enumerate(NETWORKS)]
NORMS = [(network, NeRDNorm) for network in NETWORKS]
each_network = pytest.mark.parametrize("network", NETWORKS, ids=lambda network: network.id)
each_swap = pytest.mark.parametrize(
    ("network", "head_class"), [*HEADS, *NORMS], ids=lambda value: getattr(value, "id", None) or value.__name__
)


def computed(network, model, x):
    """Every tensor that the model computes, its loss among them, from the same random state each time."""
    torch.manual_seed(5)
    if network.name.endswith("ForSemanticSegmentation"):  # Hugging Face's auxiliary heads show in the loss alone
        return tensors_in(model(x, labels=torch.zeros(len(x), *x.shape[2:], dtype=torch.long)))
    return tensors_in(model(x))


def in_both_modes(network, model, x):
    """The same of copies in training and in evaluation mode, so that statistics stay as they are."""
    with torch.no_grad():
        return [computed(network, copy.deepcopy(model).train(training), x) for training in (True, False)]


@each_swap
def test_no_output_changes_and_every_head_gets_a_gradient(network, head_class):
    model, x = network.make()
    before = in_both_modes(network, model, x)
    tried(network, model, x, head_class)
    torch.testing.assert_close(in_both_modes(network, model, x), before, rtol=1e-4, atol=1e-5)
    sum(tensor.sum() for tensor in computed(network, model.train(), x)).backward()
    found = [path for path, module in model.named_modules() if isinstance(module, head_class)]
    without = [path for path in found if any(p.grad is None for p in model.get_submodule(path).parameters())]
    assert without == []


@each_network
def test_watching_swaps_every_head_of_a_known_network_or_none(network):
    model, x = network.make()
    known = known_heads(model)
    try:
        replace_head(Wrapped(model), NeRDNorm, example_input=x)
    except ValueError:
        known = []
    assert heads_in(model, NeRDNorm) == known or not known_heads(model)


@each_network
def test_the_table_says_what_happens(network):
    assert row(network) in DOCUMENT.read_text(encoding="utf-8").splitlines()


def test_the_table_has_no_other_line():
    lines = DOCUMENT.read_text(encoding="utf-8").splitlines()
    named = [line.split(" | ")[0].removeprefix("| ") for line in lines if line.startswith("| ")]
    assert [name for name in named if name != "network"] == [network.name for network in NETWORKS]
