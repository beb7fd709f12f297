"""What the counts must reach, and whether they do.

A figure is within budget when it is no worse than its entry in the table FOR_NOW of `for_now`, or than its reach where
it has none there. A figure that has met its reach may not keep an entry: the budget then says less than what holds,
which is a breach too.
"""

from dataclasses import dataclass

from nerd_fast.kernels.audit.for_now import (
    CONFLICTS,
    COPY,
    EXECUTED,
    FOR_NOW,
    PART,
    PROGRAMS,
    RATIO,
    SHUFFLED,
    WARP,
    WRITTEN,
)
from nerd_fast.kernels.audit.gpus import GPUS, bounds

STREAMING = ("apply_forward", "apply_backward")  # kernels that stream the features
PAPER = (16, 1)  # channels and classes
MANY_CLASSES = (32, 14)
WAVEFRONTS = {"apply_forward": 1000, "apply_backward": 750}
LEAST_WAVEFRONTS = 1.3  # times what shared memory would take without conflicts
SHUFFLES, INSTRUCTIONS = 200, 7000  # a thread of the forward at 14 classes; NeRDc may take half as much again
BEYOND_DRAM = {"RTX 2080 Ti": 1.0, "RTX 4090": 1.0, "H100": 1.3}
SECTORS = 1.1
SHARE = {"RTX 2080 Ti": (0.60, 0.92), "RTX 4090": (0.75, 0.95), "H100": (0.45, 0.85)}  # of copy bandwidth, modelled
CALIBRATOR_SHARE = {"RTX 2080 Ti": 0.15, "RTX 4090": 0.12, "H100": 0.25}  # of a modelled step at the smaller batch
RESIDENT = {"apply_forward": 6, "apply_backward": 6, "calibrator_backward": 2}


@dataclass(frozen=True)
class Figure:
    """One number of a Count and what it must reach. `key` and architecture are its place in FOR_NOW."""

    key: tuple[str, str, str]  # kernel, head and layout, what
    architecture: int
    value: float
    reach: float
    at_least: bool = False

    def __str__(self):
        return f"{', '.join(self.key)}, sm_{self.architecture}: {self.value:.4g}"

    @property
    def allowed(self):
        return self.reach if self.for_now is None else self.for_now

    @property
    def for_now(self):
        """Its entry in FOR_NOW, or None."""
        return FOR_NOW.get(self.key, {}).get(self.architecture)

    @property
    def breach(self):
        """None within budget, else in words."""
        if not self._meets(self.allowed):
            return f"{self}, {'at least' if self.at_least else 'at most'} {self.allowed:g} allowed"
        if self.for_now is not None and self._meets(self.reach):
            return f"{self} meets {self.reach:g}, so that its entry in FOR_NOW must go"
        return None

    def _meets(self, bound):
        return self.value >= bound if self.at_least else self.value <= bound


def figures(configuration, count):
    """The Figures of one Count, of a head's kernel or a normalisation's, that have something to reach."""
    kernel, head = count.kernel, name_of(configuration)
    found = []

    def add(what, value, reach, at_least=False):
        found.append(Figure((kernel, head, what), count.architecture, value, reach, at_least))

    if kernel != "sum_rows":  # which hardly uses shared memory
        add(CONFLICTS, count.wavefronts / count.ideal_wavefronts, LEAST_WAVEFRONTS)
    if kernel.startswith("norm_"):
        return found
    size = (configuration.in_channels, configuration.out_channels)
    if size == PAPER and kernel in WAVEFRONTS:
        add(WARP, count.wavefronts + count.shuffles, WAVEFRONTS[kernel])
    if (reach := resident_reach(configuration, kernel)) is not None:
        add(PROGRAMS, count.resident, reach, at_least=True)
    if size == MANY_CLASSES and kernel == "apply_forward":
        more = 1 if configuration.modulates else 1.5
        add(SHUFFLED, count.shuffles, SHUFFLES * more)
        add(EXECUTED, count.instructions, INSTRUCTIONS * more)
    if kernel in STREAMING:
        for gpu in (gpu for gpu in GPUS if gpu.architecture == count.architecture):
            least = bounds(gpu, count)
            ratio = max(least["shared"], least["issue"]) / least["DRAM"]
            add(RATIO, ratio, BEYOND_DRAM[gpu.name])
    if kernel == "apply_forward":
        add(WRITTEN, count.sectors["logits", "stores"], SECTORS)
    return found


def name_of(configuration):
    c = configuration
    if not hasattr(c, "modulates"):
        return str(c)
    return f"{'nerdm' if c.modulates else 'nerdc'} C{c.in_channels} K{c.out_channels} {c.layout}"


def resident_reach(configuration, kernel):
    """Programs of a kernel that must fit on a multiprocessor, None where nothing is asked."""
    c = configuration
    plain = (c.hidden_channels, c.dtype, c.precision, len(c.spatial)) == ((32, 32), "float32", "ieee", 2)
    return RESIDENT.get(kernel) if plain and (c.in_channels, c.out_channels) == PAPER else None


def resident_allowed(configuration, kernel, architecture):
    """The same until it is reached."""
    reach = resident_reach(configuration, kernel)
    return 1 if reach is None else Figure((kernel, name_of(configuration), PROGRAMS), architecture, 0, reach).allowed


def step_figures(gpu, steps):
    """The Figures of the modelled training step {batch: Step} at two batches, the smaller first."""
    smaller, larger = steps
    found = []
    for batch, reach in zip((smaller, larger), SHARE[gpu.name], strict=True):
        found.append(Figure(("step", f"batch {batch}", COPY), gpu.architecture, steps[batch].share, reach, True))
    key = ("calibrator_backward", f"batch {smaller}", PART)
    return [*found, Figure(key, gpu.architecture, steps[smaller].calibrator_share, CALIBRATOR_SHARE[gpu.name])]
