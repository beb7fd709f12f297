"""Reads what ptxas made of a kernel: registers, stack, memory accesses and instruction kinds."""

import re
import subprocess
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import triton.backends.nvidia

TOOLS = Path(triton.backends.nvidia.__file__).parent / "bin"
INSTRUCTION = re.compile(r"^\s+/\*([0-9a-f]{4,})\*/\s+(?:@!?U?P\w+\s+)?([A-Z][\w.]*)\s*(.*?)\s*;")
WIDTHS = {"128": 16, "64": 8, "U16": 2, "S16": 2, "U8": 1, "S8": 1}


@dataclass(frozen=True)
class Instruction:
    address: int
    opcode: str
    operands: str

    @property
    def width(self):
        """Bytes that a memory instruction moves for one thread."""
        return next((WIDTHS[part] for part in self.opcode.split(".") if part in WIDTHS), 4)


@dataclass(frozen=True)
class Reading:
    """registers per thread, stack bytes per thread (above zero: spills), static shared memory, the instructions."""

    registers: int
    stack: int
    instructions: tuple[Instruction, ...]

    def count(self, *kinds):
        return sum(i.opcode.split(".")[0] in kinds for i in self.instructions)

    def streamed_bytes(self, kind):
        """Bytes per thread and width of access that one round of the batch loop moves; kind is "LDG" or "STG".

        Loads are those of every loop that stores to global memory, stores those of the innermost alone: a loop over
        channels or classes around the batch loop stores as well.
        """
        moved = Counter()
        for i in self._streaming(innermost=kind == "STG"):
            if i.opcode.split(".")[0] == kind:
                moved[i.width] += i.width
        return dict(moved)

    def streamed_barriers(self):
        """Barriers in one round of the batch loop."""
        return sum(i.opcode.startswith("BAR") for i in self._streaming(innermost=True))

    def _streaming(self, innermost):
        """Instructions of the loops that store to global memory."""
        stores = [i.address for i in self.instructions if i.opcode.startswith("STG")]
        loops = {(first, last) for first, last in self._loops() if any(first <= a <= last for a in stores)}
        if innermost:
            loops = {a for a in loops if not any(a != b and a[0] <= b[0] and b[1] <= a[1] for b in loops)}
        return [i for i in self.instructions if any(first <= i.address <= last for first, last in loops)]

    def _loops(self):
        for i in self.instructions:
            if i.opcode.split(".")[0] == "BRA":
                target = re.search(r"0x([0-9a-f]+)", i.operands)
                if target and int(target[1], 16) < i.address:
                    yield int(target[1], 16), i.address


def read(cubin):
    """The Reading of a cubin's bytes, with the tools that come with Triton."""
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        usage = _run("--dump-resource-usage", file.name)
        sass = _run("-sass", file.name)
    found = re.search(r"REG:(\d+) STACK:(\d+)", usage)
    if not found:
        raise RuntimeError(f"cuobjdump: expected 'REG:.. STACK:..' in its resource usage, got {usage!r}")
    instructions = tuple(
        Instruction(int(match[1], 16), match[2], match[3])
        for line in sass.splitlines()
        if (match := INSTRUCTION.match(line))
    )
    return Reading(int(found[1]), int(found[2]), instructions)


def _run(*arguments):
    return subprocess.run([TOOLS / "cuobjdump", *arguments], check=True, capture_output=True, text=True).stdout
