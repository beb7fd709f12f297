"""From the text of a PTX module, as Triton writes it (one statement a line), to blocks of instructions."""

import re
from dataclasses import dataclass, field

from nerd_fast.kernels.audit.ptx.datatypes import SIZES, PtxError

TERMINATORS = ("bra", "brx", "ret", "exit")
ENTRY = re.compile(r"\.visible \.entry (\w+)\((.*?)\)\s*((?:\.\w+ [^\n]*\n)*)\{", re.S)
PARAMETER = re.compile(r"\s*\.param \.(\w+)(?: \.ptr(?: \.global)?(?: \.align \d+)?)? (\w+)\s*")
TABLE = re.compile(r"(\$\w+): \.branchtargets\s*([^;]*);")
LABEL = re.compile(r"(\$\w+):")
REGISTERS = re.compile(r"\.reg \.(\w+)\s+%(\w+?)<\d+>;")
USED_BYTES = re.compile(r'\.pragma "used_bytes_mask (\w+)";')
IGNORED = (".file", '.pragma "nounroll"')
STATEMENT = re.compile(r"(?:@(!?)(%\w+)\s+)?([a-z][\w.:]*)\s*(.*?)\s*;")
REGISTER = re.compile(r"%[a-z]+\d+")


@dataclass(frozen=True)
class Instruction:
    """One statement; `place` is the source line it was compiled from, `used_bytes` what of a vector load is read."""

    index: int
    text: str
    predicate: str | None
    negated: bool
    op: str
    operands: tuple[str, ...]
    place: str
    used_bytes: int | None = None

    def __str__(self):
        return f"#{self.index} `{self.text}` ({self.place})"

    @property
    def written(self):
        """The registers that it writes."""
        if not self.operands or self.op.startswith(("st", "bra", "brx", "bar", "ret", "exit", "cp.async")):
            return []
        return split(self.operands[0].replace("|", ",").strip("{} "))

    @property
    def named(self):
        """Every register among its operands."""
        return REGISTER.findall(" ".join(self.operands))


@dataclass
class Kernel:
    """An entry: parameters (name, type) in order, threads a block, registers {prefix: type}, code in basic blocks."""

    name: str
    target: str
    parameters: list
    threads: int
    registers: dict = field(default_factory=dict)
    blocks: list = field(default_factory=lambda: [[]])
    labels: dict = field(default_factory=dict)  # label: index of a block
    tables: dict = field(default_factory=dict)  # of brx.idx: name: labels

    @property
    def instructions(self):
        return [instruction for block in self.blocks for instruction in block]

    def size_of(self, register):
        """Bytes of a register, 0 for a predicate."""
        match = re.fullmatch(r"%([a-z]+)\d+", register)
        if match is None or match[1] not in self.registers:
            raise PtxError(f"{self.name} has no register {register}")
        return SIZES[self.registers[match[1]]]


def parse(text):
    """The Kernel of a module with one entry. Raises PtxError for what it cannot read."""
    head = ENTRY.search(text)
    if head is None or len(re.findall(r"\.entry\b", text)) != 1:
        raise PtxError("one .visible .entry expected")
    if re.search(r"\.(?:func|const|local)\b", text[: text.find(".section")]):
        raise PtxError("device functions, constant memory and local memory are not supported")
    threads = re.search(r"\.reqntid (\d+)\s", head[3])
    if threads is None:
        raise PtxError(f"{head[1]} does not say how many threads a block has (.reqntid)")
    target = re.search(r"\.target (\w+)", text)[1]
    kernel = Kernel(head[1], target, [_parameter(line) for line in split(head[2])], int(threads[1]))
    body = text[head.end() :]
    kernel.tables = {name: split(labels) for name, labels in TABLE.findall(body)}
    _read_body(kernel, TABLE.sub("", body))
    return kernel


def _parameter(line):
    match = PARAMETER.fullmatch(line)
    if match is None:
        raise PtxError(f"parameter {line!r}: a scalar or a pointer to global memory expected")
    return match[2], match[1]


def _read_body(kernel, body):
    place, used, index = "?", None, 0
    for line in body.splitlines():
        code, _, comment = line.partition("//")
        code = code.strip()
        if not code or code.startswith(IGNORED):
            continue
        if code == "}":
            break
        if match := LABEL.fullmatch(code):
            if kernel.blocks[-1]:
                kernel.blocks.append([])
            kernel.labels[match[1]] = len(kernel.blocks) - 1
        elif code.startswith(".loc"):
            place = comment.strip() or code
        elif match := USED_BYTES.fullmatch(code):
            used = int(match[1], 16)
        elif match := REGISTERS.fullmatch(code):
            kernel.registers[match[2]] = match[1]
        else:
            instruction = _instruction(index, code, place, used)
            kernel.blocks[-1].append(instruction)
            used, index = None, index + 1
            if instruction.op.split(".")[0] in TERMINATORS:
                kernel.blocks.append([])


def _instruction(index, code, place, used):
    match = STATEMENT.fullmatch(code)
    if match is None or ";" in match[4]:
        raise PtxError(f"cannot parse {code!r}")
    negated, predicate, op, operands = match.groups()
    return Instruction(index, code.rstrip(";"), predicate, bool(negated), op, tuple(split(operands)), place, used)


def split(text):
    """Operands, at the commas outside of brackets."""
    found, depth, current = [], 0, ""
    for letter in text:
        depth += (letter in "[{") - (letter in "]}")
        if letter == "," and not depth:
            found.append(current.strip())
            current = ""
        else:
            current += letter
    return [*found, current.strip()] if current.strip() else found


def number(text):
    """An integer, or the bits of a 0f or 0d constant."""
    if re.fullmatch(r"0[fd][0-9A-Fa-f]+", text):
        return int(text[2:], 16)
    return int(text.rstrip("U"), 0)
