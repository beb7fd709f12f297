"""docs/networks.md, made of what happens to each network: `python -m tests.surgery.table` writes it."""

from importlib.metadata import packages_distributions, version
from pathlib import Path

from nerd_fast import NeRDm, NeRDNorm
from tests.surgery.networks import LIBRARIES, NETWORKS, Network
from tests.surgery.trials import Tried, tried
from tests.torchvision_operators import declare_torchvision_operators

DOCUMENT = Path(__file__).parents[2] / "docs" / "networks.md"

OPENING = """\
# Networks

What `nerd_fast.replace_head(model, head_class)` does with networks of other libraries. `make networks-table` tries
them all and writes this page; `make networks` tries them and compares. The networks are small, their weights random.
After every swap the outputs are the same in evaluation and in training mode, and every head gets a gradient.

- **known**: `replace_head(model, nerd_fast.NeRDm)` finds every head, auxiliary ones and those of deep supervision too.
- **by watching**: `replace_head(model, nerd_fast.NeRDm, example_input=x)` runs the network once in evaluation and once
  in training mode and follows the output back to the layer that made it.
- **by path**: `replace_head(model, nerd_fast.NeRDm, path=[...])` with the heads of the second column.
- **refused**: nothing was changed, for the reason given. `NeRDNorm` needs no 1x1 convolution: it normalises by position
  what the last convolution reads, whatever that one's kernel, stride or transposition.

A subclass of a known network is known. mmsegmentation's networks are known by name, `decode_head.conv_seg` and
`auxiliary_head.conv_seg`, and were not tried: it is not installable here. Swap after `init_weights()`, which draws anew
whatever is called `conv_seg`.

With `NeRDNorm` the convolution stays in its place: the same object, with its weight, its attributes and its hooks, and
the norm as its child `norm`. A checkpoint from before the swap loads, strictly too, and the norm is then the identity.

A frozen convolution (`requires_grad=False`) becomes a head whose classifier and bias are frozen; the calibrator is new
and trains, as does a NeRDNorm in front of a frozen convolution. `head.requires_grad_(False)` or
`conv.norm.requires_grad_(False)` freezes it.

A network that reads the weight of its head instead of calling the head, `F.conv2d(x, self.head.weight)`, passes the
calibrator by. By watching it is refused: the output then comes from `head.weight`, and not from `head` alone. Named by
`path=` it is changed without a word: with NeRDm and NeRDNorm it goes on as it was and the calibrator gets no gradient;
NeRDc has no `weight`, so that its forward fails.
"""


def row(network: Network) -> str:
    """The line of the table: the network, its heads, what became of it with a head and with a norm."""
    outcomes = [tried(network, *network.make(), head_class) for head_class in (NeRDm, NeRDNorm)]
    heads = next((outcome.heads for outcome in outcomes if outcome.heads), [])
    cells = [network.name, ", ".join(f"`{head}`" for head in heads), *map(_cell, outcomes)]
    return f"| {' | '.join(cells)} |"


def _cell(outcome: Tried) -> str:
    return f"refused: {outcome.reason}" if outcome.how == "refused" else outcome.how


def document() -> str:
    """The whole page. Every library must be installed."""
    parts = [OPENING]
    for library, title in LIBRARIES.items():
        distribution = packages_distributions()[library][0]
        parts.append(f"\n## {title}\n\n{distribution} {version(distribution)}\n")
        parts.append("\n| network | heads | NeRDm, NeRDc | NeRDNorm |\n|---|---|---|---|\n")
        parts += [f"{row(network)}\n" for network in NETWORKS if network.library == library]
    return "".join(parts)


if __name__ == "__main__":
    declare_torchvision_operators()
    DOCUMENT.write_text(document(), encoding="utf-8")
