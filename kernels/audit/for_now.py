"""Figures that have yet to reach what `reach` asks, and what they may be until then: tightened as kernels improve.

{(kernel, head and layout, figure): {architecture: allowed}}, rounded to three digits from the kernels as they are.
"""

WARP = "wavefronts and shuffles of a warp"
CONFLICTS = "wavefronts over the least"
PROGRAMS = "programs on a multiprocessor"
SHUFFLED = "shuffles of a thread"
EXECUTED = "instructions of a thread"
RATIO = "shared memory or issue over DRAM"
WRITTEN = "sectors of logits over their bytes"
COPY = "modelled share of copy bandwidth"
PART = "modelled share of a step"

FOR_NOW = {
    ("step", "batch 14", COPY): {90: 0.442},
    ("apply_forward", "nerdc C32 K14 contiguous", RATIO): {90: 1.4},
}
