"""Compiles a Launch for a GPU that is not there, as Triton would on it, and runs its PTX on CPU tensors.

The kernel is specialised by Triton's own code, on the tensors and integers of this very launch.
"""

from functools import lru_cache

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource, make_backend
from triton.runtime.jit import create_function_from_signature

from nerd_fast.kernels.audit.ptx.counts import Counts
from nerd_fast.kernels.audit.ptx.datatypes import WARP
from nerd_fast.kernels.audit.ptx.machine import Code, Machine
from nerd_fast.kernels.audit.ptx.parsing import parse

SCRATCH = (0, 0)  # the last two parameters: Triton's scratch of a launch and of its profiler, which no kernel uses
_compiled = {}


def execute(launch, capability, memory, *, change=None):
    """Runs a Launch on its CPU tensors as compiled for a (major, minor) capability; returns the Report.

    memory is a Memory that may have seen earlier launches; `change` maps the text of the PTX to another.
    """
    compiled, signature = compile_launch(launch, capability)
    text = compiled.asm["ptx"] if change is None else change(compiled.asm["ptx"])
    return _machine(launch, compiled, signature, text, memory).run()


def count(launch, capability, memory, compiled=None, programs=None):
    """The Counts of a Launch, of all its programs or of those given; nothing is checked but bounds and alignment.

    `compiled` is what `compile_launch` gave, where the caller has it already.
    """
    compiled, signature = compiled or compile_launch(launch, capability)
    machine = _machine(launch, compiled, signature, compiled.asm["ptx"], memory)
    machine.counts = Counts(machine.kernel)
    machine.run(programs)
    return machine.counts


def compile_launch(launch, capability, machine_code=False):
    """(the compiled kernel, its signature) of a Launch, compiled once; with a cubin where machine_code is wanted."""
    target, options, signature, constants, attributes = specialise(launch, capability)
    key = repr((launch.kernel.__name__, machine_code, target, options, signature, constants, attributes))
    if key not in _compiled:
        source = ASTSource(launch.kernel, signature, constants, attributes)
        if machine_code:
            _compiled[key] = triton.compile(source, target=target, options=options.__dict__)
        else:
            _compiled[key] = _without_assembler(source, target, options.__dict__)
    return _compiled[key], signature


def specialise(launch, capability):
    """(target, options, signature, constants, attributes), as Triton's `JITFunction.run` finds them."""
    kernel, (major, minor) = launch.kernel, capability
    target = GPUTarget("cuda", 10 * major + minor, WARP)
    backend = make_backend(target)
    binder = create_function_from_signature(kernel.signature, kernel.params, backend)
    keywords = {**launch.arguments, **launch.constants, **launch.options}
    bound, specialization, _ = binder(**keywords)
    options, signature, constants, attributes = kernel._pack_args(backend, keywords, bound, specialization, None)
    return target, options, signature, constants, attributes


def _without_assembler(source, target, options):
    """Compiles to PTX alone: ptxas takes half of the time, and nothing here reads its machine code."""

    def leave_out(*arguments):
        if arguments:
            arguments[1]["cubin"] = lambda ptx, metadata: b""
        return "no machine code", "no machine code"  # of Triton's cache: what is compiled so is kept apart

    triton.knobs.runtime.add_stages_inspection_hook = leave_out
    try:
        return triton.compile(source, target=target, options=options)
    finally:
        triton.knobs.runtime.add_stages_inspection_hook = None


@lru_cache(64)
def _code(text):
    return Code(parse(text))


def _machine(launch, compiled, signature, text, memory):
    if compiled.metadata.global_scratch_size:
        raise ValueError(f"{launch.kernel.__name__}: kernels with scratch memory are not supported")
    memory.begin_launch()
    values = []
    for name in launch.kernel.arg_names:
        if name in launch.arguments:
            values += _parameters(signature[name], launch.arguments[name], name, memory)
    return Machine(_code(text), memory, launch.programs, [*values, *SCRATCH], compiled.metadata.shared)


def _parameters(kind, argument, name, memory):
    """The bits of the parameters that an argument becomes: none for a constant, one for each member of a tuple."""
    if isinstance(kind, tuple):
        members = enumerate(zip(kind, argument, strict=True))
        return [bits for i, pair in members for bits in _parameters(*pair, f"{name}[{i}]", memory)]
    if kind == "constexpr":
        return []
    if isinstance(argument, torch.Tensor):
        return [memory.register(argument, name)]
    return [int(argument) & ((1 << 64) - 1)]
