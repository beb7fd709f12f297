"""A U-Net trainer for NeRD heads: NIfTI volumes in, trained networks, masks, metrics and figures out.

From Python: `verify`, `train`, `evaluate` and `predict`, each with the options of its command as a dataclass, `resumed`
for those of a run that goes on, and `load_network` for what `nerd-fast export` wrote; docs/python.md shows them. They
load on first use.

Each wing imports from those above it alone:

| wing | what |
|---|---|
| `base` | errors, output files, signals, options, tables |
| `data` | headers, volumes, layouts, cases, splits, slices, verification, synthetic scans |
| `runs` | the folder of a run, its checkpoints and its data |
| `network` | the U-Net, the masks it makes, what is exported of it |
| `training` | a run from its options: sampling, the training loop, its log |
| `scores` | metrics, evaluation, statistics |
| `pictures` | figures, pages and what they show |
| `commands` | `nerd-fast COMMAND`, a file each |
| `study` | the paper's studies |
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

_HOME = {
    "EvaluateOptions": "commands.evaluate",
    "PredictOptions": "commands.predict",
    "TrainConfig": "base.config",
    "VerifyOptions": "commands.verify",
    "evaluate": "commands.evaluate",
    "load_network": "network.exported",
    "predict": "commands.predict",
    "resumed": "runs.runs",
    "train": "commands.train",
    "verify": "commands.verify",
}

__all__ = [
    "EvaluateOptions",
    "PredictOptions",
    "TrainConfig",
    "VerifyOptions",
    "evaluate",
    "load_network",
    "predict",
    "resumed",
    "train",
    "verify",
]

if TYPE_CHECKING:
    from nerd_fast.segmentation.base.config import TrainConfig
    from nerd_fast.segmentation.commands.evaluate import EvaluateOptions, evaluate
    from nerd_fast.segmentation.commands.predict import PredictOptions, predict
    from nerd_fast.segmentation.commands.train import train
    from nerd_fast.segmentation.commands.verify import VerifyOptions, verify
    from nerd_fast.segmentation.network.exported import load_network
    from nerd_fast.segmentation.runs.runs import resumed


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'nerd_fast.segmentation' has no attribute {name!r}")
    value = getattr(import_module(f"nerd_fast.segmentation.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME})
