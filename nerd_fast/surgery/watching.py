"""Finding the head of an unknown network: run it and see which layers its output comes from."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import fields, is_dataclass
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd
from torch.nn.modules.dropout import _DropoutNd

from nerd_fast.calibrated import Calibrated


class Watched(NamedTuple):
    """Paths of the layers that made a network's output, of the layer that ran last, and of the former in training."""

    made: list[str]
    last: str | None
    made_in_training: list[str]


def watch(network: nn.Module, example_input: Any) -> Watched:
    """Which layers make the output of `network`, in evaluation and in training.

    A layer is a module with parameters of its own; it made the output if the output follows from what it returned
    through no other layer: a head does, even if its logits are upsampled, activated or stacked afterwards.

    `example_input` is the network's argument or a tuple of its arguments. The network runs uncompiled, once in
    evaluation mode and once in training mode, there but for normalisation, dropout and the other layers of
    `torch.nn`, which change no path and need no batch. Training flags, buffers and random state are restored.
    Raises ValueError when it fails.
    """
    arguments = example_input if isinstance(example_input, tuple) else (example_input,)
    paths = _layers(network)
    made, last = _run(network, arguments, paths, training=False)
    return Watched(made, last, _run(network, arguments, paths, training=True)[0])


def _run(
    network: nn.Module, arguments: tuple[Any, ...], paths: dict[nn.Module, str], training: bool
) -> tuple[list[str], str | None]:
    ran: dict[nn.Module, str] = {}  # the layers in the order in which they returned

    def mark(module: nn.Module, _: Any, output: Any) -> Any:
        # a container that owns a parameter beside its layers is no layer
        if any(inner in ran for inner in module.modules() if inner is not module):
            return output
        ran.pop(module, None)
        ran[module] = paths[module]
        return _mapped(output, lambda tensor: _made_by(paths[module], tensor))

    # gradients are recorded, from one layer's output to the next layer at most, to follow the output back
    with _undisturbed(network, training), _hooked(paths, mark), torch.enable_grad():
        try:
            output = network(*arguments)
        except Exception as error:
            where = " in training mode, where it may have further heads (path= needs no run)" if training else ""
            raise ValueError(f"example_input: the network failed on it{where}: {error}") from error
    return _origins(list(_tensors(output)), paths), next(reversed(ran.values()), None)


class _Made(torch.autograd.Function):
    """The identity, remembering the path of the layer that made a tensor."""

    @staticmethod
    def forward(ctx: Any, tensor: torch.Tensor, path: str) -> torch.Tensor:
        ctx.made_by = path
        return tensor.clone()


def _made_by(path: str, tensor: torch.Tensor) -> torch.Tensor:
    if not tensor.is_floating_point():
        return tensor
    marked: torch.Tensor = _Made.apply(tensor.detach().requires_grad_(), path)
    return marked


def _origins(tensors: list[torch.Tensor], paths: dict[nn.Module, str]) -> list[str]:
    """Paths of the layers that `tensors` follow from, walking back to the first mark; bare parameters by their path."""
    owners = {
        parameter: f"{path}.{name}".lstrip(".")
        for module, path in paths.items()
        for name, parameter in module._parameters.items()
        if parameter is not None
    }
    origins, visited = set(), set()
    pending = [tensor.grad_fn for tensor in tensors]
    while pending:
        node = pending.pop()
        if node is None or node in visited:
            continue
        visited.add(node)
        parameter = getattr(node, "variable", None)
        if hasattr(node, "made_by"):
            origins.add(node.made_by)
        elif parameter is not None and parameter in owners:
            origins.add(owners[parameter])
        else:
            pending += [before for before, _ in node.next_functions]
    return sorted(origins)


def _mapped(value: Any, function: Callable[[torch.Tensor], torch.Tensor]) -> Any:
    """`value` with `function` applied to every tensor in its lists, tuples and dictionaries."""
    if isinstance(value, torch.Tensor):
        return function(value)
    if isinstance(value, dict):
        return type(value)((key, _mapped(item, function)) for key, item in value.items())
    if isinstance(value, (list, tuple)):
        items = [_mapped(item, function) for item in value]
        return type(value)(*items) if hasattr(value, "_fields") else type(value)(items)
    return value


def _tensors(value: Any) -> Iterator[torch.Tensor]:
    """Every tensor in the lists, tuples, dictionaries and dataclasses of an output."""
    if isinstance(value, torch.Tensor):
        yield value
        return
    if isinstance(value, dict):
        value = value.values()
    elif is_dataclass(value):
        value = [getattr(value, field.name) for field in fields(value)]
    elif not isinstance(value, (list, tuple)):
        return
    for item in value:
        yield from _tensors(item)


@contextmanager
def _undisturbed(network: nn.Module, training: bool) -> Iterator[None]:
    modules = list(network.modules())
    flags = [module.training for module in modules]
    buffers = [(m, name, b, b.clone()) for m in modules for name, b in m._buffers.items() if b is not None]
    # flags, not train() and eval(): that is where some networks fold or freeze layers
    for module in modules:
        module.training = training and not _is_of_torch(module)
    devices = {p.device for p in network.parameters() if p.device.type == "cuda"}
    with ExitStack() as stack:
        stack.enter_context(torch.random.fork_rng(devices=devices))
        if any(hasattr(module, "_orig_mod") or module._compiled_call_impl is not None for module in modules):
            stack.enter_context(torch.compiler.set_stance("force_eager"))
        try:
            yield
        finally:
            for module, flag in zip(modules, flags, strict=True):
                module.training = flag
            for module, name, buffer, before in buffers:
                module._buffers[name] = buffer
                if not torch.equal(buffer, before):
                    buffer.detach().copy_(before)


def _is_of_torch(module: nn.Module) -> bool:
    return type(module).__module__.startswith("torch.nn.") or isinstance(module, (_NormBase, _DropoutNd))


@contextmanager
def _hooked(modules: dict[nn.Module, str], hook: Callable[..., Any]) -> Iterator[None]:
    handles = [module.register_forward_hook(hook) for module in modules]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _layers(network: nn.Module) -> dict[nn.Module, str]:
    """Path of every module with parameters of its own. Convolutions and heads are whole: what they hold is theirs."""
    whole = [module for module in network.modules() if isinstance(module, (_ConvNd, Calibrated))]
    held = {inner for module in whole for inner in module.modules() if inner is not module}
    return {
        module: path
        for path, module in network.named_modules()
        if module not in held and (module in whole or any(p is not None for p in module._parameters.values()))
    }
