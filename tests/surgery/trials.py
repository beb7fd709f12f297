"""One network tried: which way its heads are found, and if they are not, why."""

import re
from typing import NamedTuple

from torch import Tensor, nn

from nerd_fast import replace_head
from nerd_fast.calibrated import Calibrated
from tests.surgery.networks import Network


class Tried(NamedTuple):
    """How the heads were found: "known", "by watching", "by path" or "refused"; where they are; why it was refused."""

    how: str
    heads: list[str]
    reason: str


def tried(network: Network, model: nn.Module, x: Tensor, head_class: type[Calibrated]) -> Tried:
    """Replaces the heads of `model` in the first way that succeeds."""
    ways = {"known": {}, "by watching": {"example_input": x}, "by path": {"path": network.path}}
    for how in ways if network.path else ("known", "by watching"):
        try:
            replace_head(model, head_class, **ways[how])
        except ValueError as error:
            reason = reason_of(str(error))
        else:
            return Tried(how, heads_in(model, head_class), "")
    return Tried("refused", [], reason)


def heads_in(model: nn.Module, head_class: type[Calibrated]) -> list[str]:
    """Paths of what was a convolution before the swap."""
    paths = [path for path, module in model.named_modules() if isinstance(module, head_class)]
    return [path.removesuffix(".norm") for path in paths]


def reason_of(message: str) -> str:
    """The reason alone, of a refusal that says what to do as well."""
    found = re.search(
        r"(?:cannot [^:]*|no single head in \w+): (.*?)(?:\. Nothing was changed|: pass the head|$)", message
    )
    return found[1] if found else message


def tensors_in(output: object) -> list[Tensor]:
    """Every tensor in an output and in its lists, tuples and dictionaries."""
    if isinstance(output, Tensor):
        return [output]
    items = output.values() if isinstance(output, dict) else output if isinstance(output, (list, tuple)) else ()
    return [tensor for item in items for tensor in tensors_in(item)]
