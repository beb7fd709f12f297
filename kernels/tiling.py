"""The launch configuration of a head's kernels. A tile is a pure function of what is computed and where, never of B, H
or W; these decide over how many programs the tiles and their batch are divided.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Head:
    """What a kernel is specialised on. `capability` is None in the interpreter."""

    modulates: bool
    in_channels: int
    out_channels: int
    hidden_channels: tuple[int, ...]
    spatial_dims: int
    activation: str
    scale: float | None
    precision: str
    capability: tuple[int, int] | None

    @property
    def turing(self):
        return self.capability is not None and self.capability < (8, 0)

    def since(self, major):
        """Whether it runs on a GPU of this generation or a later one."""
        return self.capability is not None and self.capability >= (major, 0)

    @property
    def products(self):
        """The precision of products. Turing has no tf32: rounded or in threes they would be FMAs all the same."""
        return "ieee" if self.turing else self.precision

    @property
    def outputs(self):
        """Outputs of the calibrator."""
        return (2 if self.modulates else self.out_channels) * self.in_channels

    @property
    def padded(self):
        return tuple(padded(width) for width in self.hidden_channels)

    @property
    def layers(self):
        """Hidden layers of the calibrator."""
        return len(self.hidden_channels)

    @property
    def narrow(self):
        """Whether the gradients of the calibrator fit into the registers of a program."""
        return self.widest <= 32 and self.planes <= 64

    @property
    def folded(self):
        """Whether the backward goes by (W, beta), C + 1 planes, and not by (a, b): NeRDm with one class."""
        return self.modulates and self.out_channels == 1 and self.widest <= 32 and self.in_channels <= 64

    @property
    def planes(self):
        """Outputs of the calibrator, or of the map that it is folded into but for beta: planes of gradients."""
        return self.in_channels if self.folded else self.outputs

    @property
    def deep(self):
        """Whether the last layer is one of NeRDc with more than 64 units."""
        return not self.modulates and self.padded[-1] > WIDE

    @property
    def widest(self):
        return max(self.padded)


@dataclass(frozen=True)
class Tile:
    """What one program holds at a time: positions, samples, channels; the inner size of products at once; warps.

    `registers` is the most that a thread may take. Left to itself ptxas stops at 72 in the forward of NeRDc with 16
    channels and spills 8 bytes on sm_75; told that it may take 80 it takes 80 and spills nothing.
    """

    positions: int
    samples: int
    channels: int
    inner: int
    num_warps: int
    registers: int


@dataclass(frozen=True)
class CalibratorTile:
    """What one program of the calibrator's backward holds at a time, and the most registers that a thread may take."""

    positions: int
    num_warps: int
    registers: int


@dataclass(frozen=True)
class ForwardTile:
    """What one program of the forward holds at a time, and where: see `apply_forward`.

    The `channels` of a position lie in `lanes` lanes, `vector` neighbours together, the rest in the registers of each;
    the `positions` in runs of `run` lanes; `readers` of the `classes` read the same features, in different threads.
    """

    positions: int
    samples: int
    classes: int
    readers: int
    channels: int
    lanes: int
    vector: int
    run: int
    inner: int
    num_warps: int
    registers: int


# Position-first products, those of the wide calibrator's backward, run 16 deep: at 32 its ieee pass of width 64 spills
# (255 registers and 24 bytes of stack on sm_90).
POSITION_FIRST_INNER = 16

# Units-first products read operands without conflicts, and ptxas loads them as it needs them: 64 deep at once. Steps of
# 16 would pick rows through shared memory at widths of 64, but for the second layer, which makes the first as it goes.
UNITS_FIRST_INNER = 64

# 32 positions are a full 128-byte line of float32.
POSITIONS = 32

# Beyond this hidden width 4 warps spill: 168 bytes in the backward of a head of 64 channels and 3 classes at 128.
WIDE = 64


def forward(head, channels_adjacent, vector):
    """W(v) takes 64 registers of a thread, 128 with classes of NeRDc; `vector` neighbours in memory are one access.

    One class: the warps take different samples, and the channels of a position lie in as many lanes as positions leave.
    Several: warps take different classes of the same features, which a thread reads once for all of its classes.
    """
    channels, classes = padded(head.in_channels), power_of_two(head.out_channels)
    positions = POSITIONS if channels <= 64 else 2048 // channels
    warps = _forward_warps(head, classes)
    at_once = min(classes, 16 if channels <= 32 else 8)
    if channels_adjacent:
        vector = max(vector, 4)
        lanes = min(128 // positions if classes == 1 else max(2, channels // 16), channels // vector)
        run = min(32 // lanes, positions)
        spare = max(1, warps * run // positions)
    else:
        lanes = 32 * vector // positions if classes == 1 else max(1, channels * vector // _held(head, vector))
        spare = warps * max(1, 32 * vector // (positions * lanes))
        run, vector = positions, 1
    readers, samples = min(at_once, spare), 4
    if head.modulates and classes >= 16:  # a(v) stays beside W(v) from one group of classes to the next
        samples = 1
    if not head.modulates:  # a product of more than 256 outputs would take the registers that W(v) needs
        readers = min(readers, max(1, (64 if head.deep else 256) // channels))
        at_once = min(at_once, readers * (4 if channels_adjacent else 2))
    if head.deep:
        at_once, samples = min(at_once, readers if channels > 32 else 2 * readers), 2
    alone = 4 if channels_adjacent else spare
    samples = alone if classes == 1 else min(samples, spare // readers)
    outputs = channels if head.modulates else channels * readers
    registers = _forward_registers(head, warps)
    inner = _forward_inner(head, outputs)
    return ForwardTile(positions, samples, at_once, readers, channels, lanes, vector, run, inner, warps, registers)


def _held(head, vector):
    """How many channels of one position, times the neighbours of an access, a thread holds of several classes.

    NeRDm's W and a, side by side in more than 16 classes or 32 channels, spill 416 bytes at 64; scalar accesses, which
    take an address each, 200 at 32.
    """
    if not head.modulates:
        return 32
    if vector == 1:
        return 16
    return 64 if head.out_channels <= 16 and head.in_channels <= 32 else 32


def _forward_warps(head, classes):
    """Two warps where the registers allow it: a thread then makes twice as many products of what it reads of shared
    memory, and a tile takes 3,100 issue slots before the loop over the batch where four warps take 4,100.

    On Turing the shared memory of eight programs is all there is, however few warps they have.
    """
    if classes > 1 or head.widest > WIDE:
        return 8
    return 4 if head.turing or head.widest > 32 or head.in_channels > 32 or head.layers > 2 else 2


def _forward_inner(head, outputs):
    """How deep products of so many outputs run.

    64 deep, 256 rows of weights take 64 KiB of shared memory, maps of 64 channels spill 120 bytes at width 64, and 128
    outputs of NeRDc 540. In steps, 64 rows of 128 units spill 640 bytes and more where a product made the units.
    """
    if head.deep and outputs <= 64 and head.in_channels <= 32:
        return head.padded[-1]
    if outputs > (64 if head.widest > 32 and not head.modulates else 128):
        return 32
    return 32 if head.in_channels > 32 and head.widest > 32 else _inner(head)


def _forward_registers(head, warps):
    """The most registers with which a thread of the forward spills nothing."""
    if warps == 2:
        more = 8 if head.capability == (10, 0) and head.in_channels > 16 else 0
        return 104 if head.in_channels <= 16 else 112 + more
    # At 168 layers of 64 spill 208 to 584 bytes beside a map of 64 channels, products in tf32 up to 48.
    wide_map = head.in_channels > 32 and (head.widest > 32 or head.products != "ieee")
    if head.layers > 2 or head.widest > WIDE or wide_map or (head.out_channels > 1 and not head.modulates):
        return 255
    if head.out_channels > 1:  # at 128 the three products of tf32x3 spill 152 bytes with layers of 64
        return 168 if head.products == "tf32x3" and head.widest > 32 else 128
    if head.widest > 32:
        return 128 if head.in_channels <= 16 else 168
    return 80 if head.in_channels <= 16 else 96 if head.in_channels <= 32 else 168


def apply_backward(head, aligned, channels_adjacent):
    """Up to 16 classes, 4 features of a sample, 16 bytes of float32, in a thread; up to 24 classes 2, beyond one.

    A thread keeps w and dW, 2 numbers for each of its features and classes. With more than 16 classes the arithmetic,
    4 K FLOP for each feature read and written, takes longer than the bytes, so that narrow accesses are no loss.

    Features that are not `aligned` are loaded one by one, each from an address of its own: a step of 4 samples spilled
    56 bytes on sm_80, 14 classes of 4 features 536.
    """
    classes = head.out_channels
    most = 16 if aligned else 4
    elements = 4 if classes <= most else 2 if 2 * classes <= 3 * most else 1
    samples = max(1, min(4, 8 // classes)) if aligned else 1
    if head.layers > 2 and head.widest > WIDE:  # four layers of 128 spill 168 bytes with 4 samples of 4 features
        elements, samples = min(elements, 2), min(samples, 2)
    if head.folded and (head.capability, channels_adjacent) in (((10, 0), False), ((12, 0), True)):
        samples = min(samples, 2)  # at 4 it spills 8 bytes at 80 registers; but at 2 on sm_100 in channels_last
    warps = 4 if head.widest <= WIDE else 8
    positions = POSITIONS
    if warps == 8 and classes > 2:  # at 32, two layers of 128 spill 440 bytes with 8 classes, 928 with NeRDc's 14
        positions, elements = 16, min(elements, 2)
    if classes > 32 and head.in_channels <= 2 and warps == 4 and not head.modulates:
        positions = 64  # at 32, of which half the channels are none, 72 bytes spill on sm_75
    channels = 32 * warps * elements // positions
    # in steps of 32, 64 classes of four layers of 128 spill 232 bytes on sm_120
    inner = UNITS_FIRST_INNER if head.deep and classes > 2 else _inner(head)
    return Tile(positions, samples, channels, inner, warps, _backward_registers(head, warps))


def _inner(head):
    """How deep units-first products run: 64 deep, four layers of 64 spill 248 bytes in the apply pass, of 128 384."""
    return UNITS_FIRST_INNER if head.layers <= 2 and head.widest <= WIDE else 32


def _backward_registers(head, warps):
    """The most registers with which a thread of the apply pass spills nothing."""
    if head.out_channels > 1 or warps == 8 or head.layers > 2:
        return 255
    if head.in_channels > 16 or head.widest > 32:
        if head.widest > 32 and (head.in_channels > 16 or head.since(10)):  # 182: at 168 24 bytes spill
            return 255
        return 160 if head.capability in ((8, 6), (8, 9)) else 168  # 8 bytes spill with the other's number
    return 128 if head.modulates and not head.folded else 80


def calibrator_backward(head):
    """8 warps and 128 registers, two programs on a multiprocessor: 32 positions at hidden widths up to 32, 16 up to 64,
    where 32 take 208 registers. On sm_100 and later 16 outputs of layers of 64 would spill 8 bytes so.

    At 32 positions four layers of width 128 take 58 KiB of shared memory, more than sm_75 gives, layers of 24, 8 and
    100 spill 128 bytes there, and the three products of tf32x3 64 to 640 wherever they run on tensor cores.
    """
    deep = sum(head.padded) > 256 or (head.widest > WIDE and head.layers > 2)
    spills = head.widest > 32 and head.outputs <= 16 and head.since(10)
    if head.layers <= 2 and head.widest <= WIDE and head.products == "ieee" and not spills:
        return CalibratorTile(16 if head.widest > 32 else POSITIONS, 8, 128)
    return CalibratorTile(16 if deep or head.products == "tf32x3" else POSITIONS, 8, 255)


def calibrator_backward_narrow(head):
    """16 positions, 8 warps and 128 registers: two programs on a multiprocessor; at 32 positions 96 bytes spill.

    With more than 32 planes a program is alone where it would spill: the three products of tf32x3 up to 192 bytes, any
    8 on sm_86 and sm_89, 352 on sm_100 and 424 on sm_120.
    """
    spills = head.products == "tf32x3" or head.capability not in (None, (7, 5), (8, 0), (9, 0))
    return CalibratorTile(16, 8, 255 if head.planes > 32 and spills else 128)


def power_of_two(size):
    return 1 << (size - 1).bit_length()


def padded(size):
    """The power of two from 16 that holds `size`: the least that `tl.dot` multiplies."""
    return max(16, power_of_two(size))


def shares(tiles, batch):
    """Over how many programs a tile's batch is divided, so that small images fill a large GPU, up to 512 programs.

    A share is a whole number of fours, whatever the samples in flight: how x lies in memory does not change it.
    """
    return max(1, min(512 // tiles, -(-batch // 4)))


def row_programs(tiles):
    """Programs, and so rows of partial sums, of the calibrator's backward: two for each multiprocessor of a large GPU.

    A row for each tile would be 1,120 rows of 26 kB at 160x224 with hidden (64, 64), half of what the features cost.
    """
    return min(tiles, 256)
