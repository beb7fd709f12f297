"""Figures that have yet to reach what `reach` asks, and what they may be until then: tightened as kernels improve.

{(kernel, head and layout, figure): {architecture: allowed}}, rounded to three digits from the kernels as they are.
"""

WARP = "wavefronts and shuffles of a warp"
PROGRAMS = "programs on a multiprocessor"
SHUFFLED = "shuffles of a thread"
EXECUTED = "instructions of a thread"
RATIO = "shared memory or issue over DRAM"
WRITTEN = "sectors of logits over their bytes"
COPY = "modelled share of copy bandwidth"
PART = "modelled share of a step"
OTHERS = None  # the architectures that an entry does not name

FOR_NOW = {
    ("apply_forward", "nerdm C16 K1 contiguous", WARP): {OTHERS: 3360},
    ("apply_forward", "nerdm C16 K1 contiguous", PROGRAMS): {OTHERS: 4},
    ("apply_forward", "nerdm C16 K1 contiguous", RATIO): {75: 1.92, 89: 1.09, 90: 5.02},
    ("apply_backward", "nerdm C16 K1 contiguous", WARP): {OTHERS: 2590},
    ("apply_backward", "nerdm C16 K1 contiguous", PROGRAMS): {OTHERS: 4},
    ("step", "batch 14", COPY): {89: 0.68, 90: 0.33},
    ("step", "batch 128", COPY): {90: 0.74},
    ("calibrator_backward", "batch 14", PART): {75: 0.19, 90: 0.27},
    ("apply_backward", "nerdm C16 K1 contiguous", RATIO): {90: 1.88},
    ("apply_forward", "nerdm C16 K1 channels_last", WARP): {OTHERS: 2630},
    ("apply_forward", "nerdm C16 K1 channels_last", PROGRAMS): {OTHERS: 4},
    ("apply_forward", "nerdm C16 K1 channels_last", RATIO): {75: 1.51, 90: 3.93},
    ("apply_backward", "nerdm C16 K1 channels_last", WARP): {OTHERS: 2630},
    ("apply_backward", "nerdm C16 K1 channels_last", PROGRAMS): {OTHERS: 4},
    ("apply_backward", "nerdm C16 K1 channels_last", RATIO): {90: 1.91},
    ("apply_forward", "nerdm C32 K1 contiguous", RATIO): {75: 1.2, 90: 3.13},
    ("apply_backward", "nerdm C32 K1 contiguous", RATIO): {90: 1.51},
    ("apply_forward", "nerdm C32 K1 channels_last", RATIO): {75: 1.01, 90: 2.63},
    ("apply_backward", "nerdm C32 K1 channels_last", RATIO): {90: 1.54},
    ("apply_forward", "nerdm C32 K14 contiguous", SHUFFLED): {OTHERS: 10300},
    ("apply_forward", "nerdm C32 K14 contiguous", EXECUTED): {OTHERS: 28400},
    ("apply_forward", "nerdm C32 K14 contiguous", RATIO): {75: 3.45, 89: 1.95, 90: 9},
    ("apply_forward", "nerdm C32 K14 channels_last", SHUFFLED): {OTHERS: 10300},
    ("apply_forward", "nerdm C32 K14 channels_last", EXECUTED): {OTHERS: 28300},
    ("apply_forward", "nerdm C32 K14 channels_last", RATIO): {75: 3.45, 89: 1.95, 90: 8.99},
    ("apply_forward", "nerdm C32 K14 channels_last", WRITTEN): {OTHERS: 2.72},
    ("apply_backward", "nerdm C32 K14 channels_last", RATIO): {90: 1.57},
    ("apply_forward", "nerdc C16 K1 contiguous", WARP): {OTHERS: 2600},
    ("apply_forward", "nerdc C16 K1 contiguous", PROGRAMS): {OTHERS: 4},
    ("apply_forward", "nerdc C16 K1 contiguous", RATIO): {75: 1.49, 90: 3.89},
    ("apply_backward", "nerdc C16 K1 contiguous", WARP): {OTHERS: 1830},
    ("apply_backward", "nerdc C16 K1 contiguous", PROGRAMS): {OTHERS: 5},
    ("apply_backward", "nerdc C16 K1 contiguous", RATIO): {90: 1.37},
    ("apply_forward", "nerdc C16 K1 channels_last", WARP): {OTHERS: 1880},
    ("apply_forward", "nerdc C16 K1 channels_last", PROGRAMS): {OTHERS: 4},
    ("apply_forward", "nerdc C16 K1 channels_last", RATIO): {75: 1.08, 90: 2.8},
    ("apply_backward", "nerdc C16 K1 channels_last", WARP): {OTHERS: 1830},
    ("apply_backward", "nerdc C16 K1 channels_last", PROGRAMS): {OTHERS: 5},
    ("apply_backward", "nerdc C16 K1 channels_last", RATIO): {90: 1.37},
    ("apply_forward", "nerdc C32 K1 contiguous", RATIO): {90: 2.28},
    ("apply_forward", "nerdc C32 K1 channels_last", RATIO): {90: 1.78},
    ("apply_forward", "nerdc C32 K14 contiguous", SHUFFLED): {OTHERS: 2840},
    ("apply_forward", "nerdc C32 K14 contiguous", EXECUTED): {OTHERS: 13800},
    ("apply_forward", "nerdc C32 K14 contiguous", RATIO): {75: 12.3, 89: 6.92, 90: 32.1},
    ("apply_backward", "nerdc C32 K14 contiguous", RATIO): {75: 1.53, 90: 3.98},
    ("apply_forward", "nerdc C32 K14 channels_last", SHUFFLED): {OTHERS: 784},
    ("apply_forward", "nerdc C32 K14 channels_last", RATIO): {75: 3.93, 89: 2.22, 90: 10.3},
    ("apply_forward", "nerdc C32 K14 channels_last", WRITTEN): {OTHERS: 1.86},
    ("apply_backward", "nerdc C32 K14 channels_last", RATIO): {75: 1.55, 90: 4.03},
}
