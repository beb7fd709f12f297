"""Finding the head of an unknown network: run it once and see which layers its output comes from."""

from contextlib import ExitStack, contextmanager

import torch
from torch.nn.modules.conv import _ConvNd

from nerd_fast.heads import NeRDHead


def watch(network, example_input):
    """Paths of the layers that made the output, and the path of the layer that ran last.

    A layer is a module with parameters of its own; it made the output if the output follows from what it returned
    through no other layer: a head does, even if its logits are upsampled, activated or stacked afterwards.

    `example_input` is the network's argument or a tuple of its arguments. The network runs once, in evaluation mode
    and uncompiled; its training flags and the random state are restored. Raises ValueError when it fails.
    """
    arguments = example_input if isinstance(example_input, tuple) else (example_input,)
    paths = _layers(network)
    ran = []

    def mark(module, _, output):
        # a container that owns a parameter beside its layers is no layer
        if any(inner in ran for inner in module.modules() if inner is not module):
            return output
        ran.append(module)
        return _mapped(output, lambda tensor: _made_by(paths[module], tensor))

    # gradients are recorded, from one layer's output to the next layer at most, to follow the output back
    with _undisturbed(network), _hooked(paths, mark), torch.enable_grad():
        try:
            output = network(*arguments)
        except Exception as error:
            raise ValueError(f"example_input: the network failed on it: {error}") from error
    made = []
    _mapped(output, made.append)
    return _origins(made, paths), paths[ran[-1]] if ran else None


class _Made(torch.autograd.Function):
    """The identity, remembering the path of the layer that made a tensor."""

    @staticmethod
    def forward(ctx, tensor, path):
        ctx.path = path
        return tensor.clone()


def _made_by(path, tensor):
    if not tensor.is_floating_point():
        return tensor
    return _Made.apply(tensor.detach().requires_grad_(), path)


def _origins(tensors, paths):
    """Paths of the layers that `tensors` follow from, walking back to the first mark; bare parameters by their path."""
    owners = {p: f"{path}.{name}".lstrip(".") for m, path in paths.items() for name, p in m._parameters.items()}
    origins, visited = [], set()
    pending = [tensor.grad_fn for tensor in tensors]
    while pending:
        node = pending.pop()
        if node is None or node in visited:
            continue
        visited.add(node)
        if hasattr(node, "path"):
            origins.append(node.path)
        elif getattr(node, "variable", None) in owners:
            origins.append(owners[node.variable])
        else:
            pending += [before for before, _ in node.next_functions]
    return sorted(set(origins))


def _mapped(value, function):
    """`value` with `function` applied to every tensor in its lists, tuples and dictionaries."""
    if isinstance(value, torch.Tensor):
        return function(value)
    if isinstance(value, dict):
        return type(value)((key, _mapped(item, function)) for key, item in value.items())
    if isinstance(value, (list, tuple)):
        items = [_mapped(item, function) for item in value]
        return type(value)(*items) if hasattr(value, "_fields") else type(value)(items)
    return value


@contextmanager
def _undisturbed(network):
    modules = list(network.modules())
    training = [module.training for module in modules]
    # flags, not eval(): that is where some networks fold or freeze layers
    for module in modules:
        module.training = False
    devices = {p.device for p in network.parameters() if p.device.type == "cuda"}
    with ExitStack() as stack:
        stack.enter_context(torch.random.fork_rng(devices=devices))
        if any(hasattr(module, "_orig_mod") or module._compiled_call_impl is not None for module in modules):
            stack.enter_context(torch.compiler.set_stance("force_eager"))
        try:
            yield
        finally:
            for module, flag in zip(modules, training, strict=True):
                module.training = flag


@contextmanager
def _hooked(modules, hook):
    handles = [module.register_forward_hook(hook) for module in modules]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _layers(network):
    """Path of every module with parameters of its own. Convolutions and heads are whole: what they hold is theirs."""
    whole = [module for module in network.modules() if isinstance(module, (_ConvNd, NeRDHead))]
    held = {inner for module in whole for inner in module.modules() if inner is not module}
    return {
        module: path
        for path, module in network.named_modules()
        if module not in held and (module in whole or any(p is not None for p in module._parameters.values()))
    }
