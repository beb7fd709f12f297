"""The launch configuration of every kernel: a pure function of what is computed and where, never of B, H or W."""

from dataclasses import dataclass, replace


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
    def outputs(self):
        """Outputs of the calibrator."""
        return (2 if self.modulates else self.out_channels) * self.in_channels

    @property
    def padded(self):
        return tuple(padded(width) for width in self.hidden_channels)

    @property
    def depth(self):
        """Hidden layers of the calibrator."""
        return len(self.hidden_channels)

    @property
    def narrow(self):
        """Whether the gradients of the calibrator fit into the registers of a program."""
        return self.widest <= 32 and self.planes <= 64

    @property
    def folded(self):
        """Whether the backward goes by (W, beta), C + 1 planes, and not by (a, b): NeRDm with one class."""
        return FOLDS and self.modulates and self.out_channels == 1 and self.widest <= 32 and self.in_channels <= 64

    @property
    def planes(self):
        """Outputs of the calibrator, or of the map that it is folded into but for beta: planes of gradients."""
        return self.in_channels if self.folded else self.outputs

    @property
    def widest(self):
        return max(self.padded)


@dataclass(frozen=True)
class Tile:
    """What one program holds at a time: positions P, samples S, classes G, channels T; DEPTH of products; warps.

    `registers` is the most that a thread may take. Left to itself ptxas stops at 72 in the forward of NeRDc with 16
    channels and spills 8 bytes on sm_75; told that it may take 128 it takes 93 and spills nothing.
    """

    positions: int
    samples: int
    classes: int
    channels: int
    depth: int
    num_warps: int
    registers: int = 255

    def samples_within(self, elements):
        """The same tile with as many samples a step, up to 4, as keep a thread at so many features and 64 products."""
        threads = 32 * self.num_warps
        features = self.positions * self.channels
        fit = min(elements * threads // features, 64 * threads // (features * self.classes), 4)
        return replace(self, samples=max(fit, 1))


# Products run 16 deep: at 32 the ieee calibrator pass of width 64 spills (255 registers and 24 bytes of stack on sm_90)
# and the ieee forward takes 114 registers on sm_80 instead of 80.
DEPTH = 16

# 32 positions are a full 128-byte line of float32. With 4 warps and hidden (64, 64) the ieee forward takes 96 registers
# on sm_80 and 87 on sm_90; 64 positions with 4 warps take 164 and 168, which halves the programs on a multiprocessor.
POSITIONS = 32

FOLDS = False

# Beyond this hidden width 4 warps spill: 168 bytes in the backward of a head of 64 channels and 3 classes at 128.
WIDE = 64

# Classes times channels times positions of W(v) in registers: 189 of them at 8,192 with 8 warps; at 16,384 sm_75 runs
# out of shared memory.
MAP_FORWARD = 8192


def forward(head):
    channels = padded(head.in_channels)
    classes = power_of_two(head.out_channels)
    positions = POSITIONS if channels <= 64 else 16
    warps = 4 if channels <= 32 and head.widest <= WIDE else 8
    if head.modulates:
        classes = min(classes, 4)  # y is kept and w is read again: 128 registers at 4 classes, 254 at 16
        if channels > 128:  # in tf32 8 warps spill 32 bytes on sm_120, with 16 positions or 32
            return Tile(POSITIONS, 1, min(classes, 2), channels, DEPTH, 16, 128)
    else:
        warps = 4 if classes == 1 and warps == 4 else 8
        classes = min(classes, max(1, MAP_FORWARD // (positions * channels)))
    # 4 classes spill 168 bytes on sm_75 at 128 registers, 24 at 168; four layers of 64 spill 24 on sm_120 at 128
    registers = 255 if warps == 8 or classes > 1 else 128 if head.depth <= 2 else 168
    return Tile(positions, 1, classes, channels, DEPTH, warps, registers).samples_within(16)


def apply_backward(head, aligned):
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
    warps = 4 if head.widest <= WIDE else 8
    positions = 16 if classes > 16 and warps == 8 else POSITIONS  # at 32, 64 classes spill 56 bytes on sm_75
    channels = 32 * warps * elements // positions
    registers = 255 if classes > 1 or warps == 8 else 128 if head.in_channels <= 16 and head.depth <= 2 else 168
    return Tile(positions, samples, 1, channels, DEPTH, warps, registers)


def calibrator_backward(head):
    """32 positions and 8 warps: 228 registers on sm_80 with hidden (64, 64), where 4 warps take 254.

    At 32 positions four layers of width 128 take 58 KiB of shared memory, more than sm_75 gives, layers of 24, 8 and
    100 spill 128 bytes there, and the three products of tf32x3 64 to 640 wherever they run on tensor cores.
    """
    deep = sum(head.padded) > 256 or (head.widest > WIDE and head.depth > 2)
    return Tile(16 if deep or head.precision == "tf32x3" else POSITIONS, 1, 1, 1, DEPTH, 8)


def calibrator_backward_narrow(head):
    """16 positions, 8 warps and 128 registers: two programs on a multiprocessor; at 32 positions 96 bytes spill."""
    return Tile(16, 1, 1, 1, DEPTH, 8, 128)


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
