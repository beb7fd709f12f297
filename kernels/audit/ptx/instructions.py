"""What executes each instruction: a function of the threads and the mask of those that take part."""

import re

import numpy as np

from nerd_fast.kernels.audit.ptx import collective, moves, operands
from nerd_fast.kernels.audit.ptx.datatypes import RAW, SIZES, PtxError
from nerd_fast.kernels.audit.ptx.elementwise import ELEMENTWISE

MAKERS = (
    (r"ld\.param\.(\w+)", moves.parameter),
    (r"ld\.(global|shared)(?:\.v([248]))?\.(\w+)", moves.load),
    (r"st\.(global|shared)(?:\.v([248]))?\.(\w+)", moves.store),
    (r"cp\.async\.c[ag]\.shared\.global(?:\.L2::\w+)?(?:\.(\d+))?", moves.copy_async),
    (r"cp\.async\.commit_group", moves.commit_copies),
    (r"cp\.async\.wait_(?:group|all)", moves.wait_for_copies),
    (r"shfl\.sync\.(bfly|idx)\.b32", collective.shuffle),
    (r"(?:bar|barrier)\.sync", collective.block_barrier),
    (r"bar\.warp\.sync", collective.warp_barrier),
    (r"(ldmatrix|stmatrix)\.sync\.aligned\.m8n8\.x([124])(\.trans)?\.shared(?:::cta)?\.b16", collective.matrix_access),
    (r"mma\.sync\.aligned\.m16n8k(\d+)\.row\.col\.f32\.(\w+)\.\2\.f32", collective.product),
)
DIVISION = re.compile(r"(?:div|rem)\.[us]\d+")
# Written in front of a load or store, they tell caches what to keep and change no value.
HINTS = re.compile(r"(?<=^ld)\.(?:nc|relaxed\.gpu)(?=\.)|\.L1::\w+|\.L2::(?!\d)\w+")
BRANCHES = {"bra": "bra", "bra.uni": "bra", "brx.idx": "brx", "ret": "ret", "exit": "ret"}


def translate(kernel, ins):
    """What executes `ins`: "bra", "brx" or "ret" for the machine itself, else a function; unknown: PtxError."""
    if ins.op in BRANCHES:
        return BRANCHES[ins.op]
    if ins.op.startswith("mov.") and any("{" in operand for operand in ins.operands):
        return moves.join_or_split(kernel, ins)
    if ins.op in ELEMENTWISE:
        return _elementwise(kernel, ins, *ELEMENTWISE[ins.op])
    op = HINTS.sub("", ins.op) if ins.op.startswith(("ld.", "st.")) else ins.op
    for pattern, make in MAKERS:
        if match := re.fullmatch(pattern, op):
            return make(kernel, ins, *match.groups())
    raise PtxError(f"unknown instruction {ins}")


def _elementwise(kernel, ins, result, types, function):
    if len(ins.operands) != 1 + len(types):
        raise PtxError(f"{ins}: {len(types)} operands expected")
    name = operands.target(kernel, ins, ins.operands[0], SIZES[result])
    sources = [operands.source(kernel, ins, o, t) for o, t in zip(ins.operands[1:], types, strict=True)]
    raw = RAW[SIZES[result]]
    divides = DIVISION.fullmatch(ins.op)

    def step(threads, mask):
        values = [source(threads) for source in sources]
        if divides:
            zero = np.broadcast_to(values[1] == 0, (threads.size,))
            if (zero if mask is None else zero & mask).any():
                raise PtxError(f"{ins} divides by zero")
        value = function(*values)
        threads.write(name, value if value.dtype == raw else value.view(raw), mask)

    return step
