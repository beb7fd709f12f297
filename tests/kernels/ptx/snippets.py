"""Small PTX kernels, written by hand or compiled from Triton, run on tensors."""

import torch

from nerd_fast.kernels.audit.ptx import launcher
from nerd_fast.kernels.audit.ptx.counts import Counts
from nerd_fast.kernels.audit.ptx.machine import Code, Machine
from nerd_fast.kernels.audit.ptx.memory import Memory
from nerd_fast.kernels.audit.ptx.parsing import parse
from nerd_fast.kernels.launch import Launch

REGISTERS = {"p": "pred", "rs": "b16", "r": "b32", "rd": "b64"}
HEAD = """
.version 8.7
.target sm_80
.address_size 64
.visible .entry kernel(
    .param .u64 .ptr .global .align 1 out,
    .param .u64 .ptr .global .align 1 x
)
.reqntid {threads}
{{
{registers}
ld.param.b64 %rd1, [out];
ld.param.b64 %rd2, [x];
mov.u32 %r1, %tid.x;
mul.wide.u32 %rd3, %r1, {width};
add.s64 %rd4, %rd1, %rd3;
add.s64 %rd5, %rd2, %rd3;
{body}
ret;
}}
"""


def machine(body, out, x, *, threads=32, shared=0, grid=1, counted=False, checks=True, unwritten=False):
    """A Machine for statements: %rd4 and %rd5 are where a thread's element of out and of x lies, %r1 is its number.

    Registers 1 to 5 of each kind are taken.
    """
    registers = "\n".join(f".reg .{kind} %{name}<90>;" for name, kind in REGISTERS.items())
    text = HEAD.format(threads=threads, registers=registers, width=out.element_size(), body=body)
    memory = Memory(checks)
    if unwritten:
        memory.mark_unwritten(x)
    memory.begin_launch()
    addresses = [memory.register(out, "out"), memory.register(x, "x")]
    code = Code(parse(text))
    return Machine(code, memory, grid, addresses, shared, Counts(code.kernel) if counted else None)


def run(body, out, x, **options):
    """The Report of running it."""
    return machine(body, out, x, **options).run()


def triton_launch(kernel, arguments, constants, programs=1, num_warps=4):
    return Launch(kernel, programs, arguments, constants, {"num_warps": num_warps, "num_stages": 1})


def execute(launch, architecture=80, change=None):
    """The Report of a Launch, run with fresh memory."""
    return launcher.execute(launch, divmod(architecture, 10), Memory(), change=change)


def ptx_of(launch, architecture=80):
    return launcher.compile_launch(launch, divmod(architecture, 10))[0].asm["ptx"]


def floats(*shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))
