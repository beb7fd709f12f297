"""One launch of a kernel: what it is called with, by name, and how it is repeated at little cost to the host.

Arguments reach a kernel by name: what a launch passes and what the kernel's signature lists meet in one place, Python's
own binding, which refuses a name too many and one too few.
"""

from contextlib import nullcontext
from dataclasses import dataclass, field

import torch

from nerd_fast.kernels.layout import destination


@dataclass(slots=True)
class Launch:
    """One kernel launch: `kernel[(programs,)](**arguments, **constants, **options)`.

    `constants` are the kernel's constexprs, by name; `step` is the Step that it repeats, if any, which holds integers
    beside those that are `given`.
    """

    kernel: object
    programs: int
    given: dict
    constants: dict
    options: dict = field(default_factory=dict)
    step: "Step | None" = None

    @property
    def arguments(self):
        """Tensors and integers, by name."""
        return self.given if self.step is None else {**self.step.integers, **self.given}

    def run(self):
        """Launches on the current device; the compiled kernel, None in the interpreter."""
        if self.step is not None:
            return self.step.run(self)
        return self.compile_and_launch()

    def compile_and_launch(self):
        """Launches through Triton's own binding of arguments, which compiles what it has not met before."""
        return self.kernel[(self.programs,)](**self.arguments, **self.constants, **self.options)


class Step:
    """A launch but for its tensors and where its window lies: all that shapes, strides and the head decide.

    Triton binds, types and looks up some forty arguments at every launch, which takes longer than the launch itself.
    What it compiled for one launch serves every other that has the same constants and specialised integers, which a
    Step holds, and tensors of the same types whose memory starts at 16 bytes; those go to the compiled kernel directly.
    No tensor and no value of one is kept. Arguments that differ from launch to launch have the same names in all, and
    are tensors or integers that the kernel does not specialise on.
    """

    def __init__(self, kernel, programs, integers, constants, options):
        self.kernel, self.programs = kernel, programs
        self.integers, self.constants, self.options = integers, constants, options
        self.compiled = {}  # by the types of the tensors

    def on(self, given):
        """The launch with these tensors and integers."""
        return Launch(self.kernel, self.programs, given, self.constants, self.options, self)

    def run(self, launch):
        given = launch.given
        types = _types_if_aligned(given.values())
        found = self.compiled.get(types)
        if found is not None:
            compiled, call, fixed, places = found
            values = fixed.copy()
            for place, name in places:
                values[place] = given[name]
            call(*values)
            return compiled
        compiled = launch.compile_and_launch()
        if types is not None and compiled is not None:
            names, held = self.kernel.arg_names, {**self.integers, **self.constants}
            fixed = [held.get(name) for name in names]
            places = [(place, name) for place, name in enumerate(names) if name in given]
            self.compiled[types] = compiled, compiled[(self.programs, 1, 1)], fixed, places
        return compiled


def _types_if_aligned(values):
    """The types of all tensors in their order, None if one of them does not start at a multiple of 16 bytes."""
    tensors = []
    for value in values:
        if type(value) is tuple:
            tensors += value
        elif type(value) is not int:
            tensors.append(value)
    types, addresses = [], 0
    for tensor in tensors:
        if tensor is None:
            types.append(None)
        else:
            types.append(tensor.dtype)
            addresses |= tensor.data_ptr()
    return None if addresses % 16 else tuple(types)


def on_device_of(x):
    """Triton launches on the current device: make it the one that holds the features."""
    return torch.cuda.device(x.device) if x.is_cuda else nullcontext()


def options(num_warps, registers=None):
    """The options of a launch; `registers` is the most that a thread may take, None for what the compiler likes.

    Pipelining (num_stages) costs registers; Triton 3.10 turns fusion to FMA off unless it is asked for.
    """
    return {"num_warps": num_warps, "num_stages": 1, "enable_fp_fusion": True, "maxnreg": registers}


def wanted_gradients(owners, wants, launches):
    """The gradients of those owners that are wanted, each like its owner, zeros where the first one, x, has no element.

    `launches` is called with a slot for each owner, the tensor that its gradient is written to or None, and returns the
    launches that fill the slots.
    """
    x = owners[0]
    if not x.numel():
        return [torch.zeros_like(owner) for owner, want in zip(owners, wants, strict=True) if want]
    gradients = [torch.empty_like(owner) if want else None for owner, want in zip(owners, wants, strict=True)]
    slots = list(gradients)
    for place, gradient in enumerate(gradients):
        if gradient is not None and not gradient.is_contiguous():
            slots[place] = destination(gradient, is_features=place == 0)
    with on_device_of(x):
        for launch in launches(slots):
            launch.run()
        for gradient, slot in zip(gradients, slots, strict=True):
            if gradient is not slot:
                gradient.copy_(slot)
    return [gradient for gradient in gradients if gradient is not None]
