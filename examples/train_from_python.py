"""Train a U-Net with each head on a folder of cases, and set their Dice side by side.

    python examples/train_from_python.py DATA OUT

The folder is what `nerd-fast train --data` takes. What each head is trained with is in `OUT/<head>`, as the command
leaves it, so `nerd-fast report --run OUT/conv OUT/nerdm` shows the runs.
"""

import sys
from pathlib import Path

from nerd_fast.segmentation import EvaluateOptions, TrainConfig, evaluate, train

HEADS = ("conv", "nerdm", "nerdc")


def compare(data: str, out: str, **options) -> dict[str, float]:
    """{head: mean Dice of the test cases} of networks that differ in nothing but the head.

    `options` are those of `TrainConfig`.
    """
    dice = {}
    for head in HEADS:
        run = train(TrainConfig(data=data, out=str(Path(out) / head), head=head, **options))
        evaluation = evaluate(EvaluateOptions(run=str(run.folder), data=data))
        dice[head] = evaluation.summary["dice"]["mean"]
    return dice


if __name__ == "__main__":
    for name, value in compare(*sys.argv[1:3]).items():
        print(f"{name:6} {value:.4f}")
