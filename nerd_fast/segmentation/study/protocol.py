"""The paper's two studies as protocols: what it states, and the runs that follow from it and from what was chosen.

Stated (section 3): crops of 160x224 (WMH) and 290x240 (LA), intensities in [0, 1], parts of 42/6/12 and 108/15/31
scans, Adam at 1e-3 with weight decay 1e-6, batches of 14, 90 epochs, the rate halved at 50, 70 and 90 % of them,
filters from 16 to 256 and from 32 to 512, three independent runs. Everything else is an option of
`reproduce.ReproduceOptions`.
"""

from dataclasses import dataclass, fields, replace

from nerd_fast.segmentation.base.config import MODELS, TrainConfig, five_widths
from nerd_fast.segmentation.base.errors import UsageError
from nerd_fast.segmentation.commands.evaluate import EvaluateOptions
from nerd_fast.segmentation.scores.tables import LA_METRICS, WMH_METRICS, Published
from nerd_fast.segmentation.study import paper

BASELINE = "conv"


@dataclass(frozen=True)
class Protocol:
    """What the paper states about one study, and its results."""

    title: str
    crop: tuple[int, int]
    counts: tuple[int, int, int]
    channels: tuple[str, ...]
    metrics: tuple
    paper: Published
    filters: tuple[int, ...] = (256, 512)
    seeds: tuple[int, ...] = (0, 1, 2)
    epochs: int = 90
    batch_size: int = 14
    scans_share_patients: bool = False

    @property
    def cases(self):
        return sum(self.counts)


PROTOCOLS = {
    "wmh": Protocol(
        "White matter hyperintensities (the paper's Table 1)",
        (160, 224),
        (42, 6, 12),
        ("FLAIR", "T1"),
        WMH_METRICS,
        paper.WMH,
    ),
    "la": Protocol(
        "Left atrium (the paper's Table 2)",
        (290, 240),
        (108, 15, 31),
        ("LGE-MRI",),
        LA_METRICS,
        paper.LA,
        scans_share_patients=True,
    ),
}

QUICK_FILTERS, QUICK_SEEDS = [64], [0, 1]
QUICK_EPOCH, QUICK_RUN, QUICK_BATCH = 300, 3000, 4
"""Slices of an epoch, of all epochs and of a step of a quick run: ten minutes for six runs of 240x160 on two CPU cores.

In batches of 14 these are 200 steps, in which a narrow U-Net hardly learns to find a lesion; in batches of 4 it does.
"""


@dataclass(frozen=True, eq=False)
class Planned:
    """One run of a study: which model, which seed, and how it is trained and evaluated."""

    head: str
    filters: int
    seed: int
    training: TrainConfig
    evaluation: EvaluateOptions

    @property
    def model(self):
        """The name of its row, as in the paper's tables."""
        return f"{MODELS[self.head]} {self.filters}"

    @property
    def folder(self):
        return self.training.out


def resolve(options, slices):
    """The options with the defaults that depend on the study filled in, but for the size.

    `slices` is how many the training scans have. A quick study takes every n-th, so that an epoch has about 300 and a
    run 3000, however large the data are. Raises UsageError for unknown heads, for none of a kind, and for one twice.
    """
    protocol = PROTOCOLS[options.study]
    defaults = {
        "filters": list(protocol.filters),
        "seeds": list(protocol.seeds),
        "epochs": protocol.epochs,
        "every": 1,
        "batch_size": protocol.batch_size,
    }
    if options.quick:
        every = options.every or max(1, round(slices / QUICK_EPOCH))
        epochs = max(1, round(QUICK_RUN * every / slices))
        defaults = {
            "filters": QUICK_FILTERS,
            "seeds": QUICK_SEEDS,
            "epochs": epochs,
            "every": every,
            "batch_size": QUICK_BATCH,
        }
    chosen = {
        name: default if getattr(options, name) is None else getattr(options, name)
        for name, default in defaults.items()
    }
    unknown = sorted(set(options.heads) - set(MODELS))
    if unknown:
        raise UsageError(f"--heads: expected some of {', '.join(MODELS)}; found {', '.join(unknown)}")
    for name, values in (("heads", options.heads), ("filters", chosen["filters"]), ("seeds", chosen["seeds"])):
        if not values or len(set(values)) < len(values):
            raise UsageError(f"--{name}: expected each once; found {' '.join(map(str, values)) or 'none'}")
    return replace(options, **chosen)


def crop_size(options, largest):
    """Rows and columns of a slice; `largest` is what the data need.

    The paper's crop, turned where `crop_axes` says so. A quick study leaves out the padding that the data do not need.
    """
    if options.size:
        return tuple(options.size)
    crop = PROTOCOLS[options.study].crop[:: 1 if options.crop_axes == "xy" else -1]
    return tuple(min(pair) for pair in zip(crop, largest, strict=True)) if options.quick else crop


def plan(options, *, size, split_file, channels, label):
    """The `Planned` runs of resolved options: seed by seed, so that a study cut short compares all models.

    `split_file` is the study's split; `channels` and `label` are the names that were found in the data.
    """
    shared = {name: getattr(options, name) for name in _names(TrainConfig) & _names(options)}
    shared.update(size=list(size), split=str(split_file), channels=list(channels), label=label, devices=1)
    scoring = {name: getattr(options, name) for name in _names(EvaluateOptions) & _names(options)}
    runs = []
    for seed in options.seeds:
        for filters in options.filters:
            for head in options.heads:
                folder = f"{options.out}/runs/{MODELS[head].lower()}-{filters}-seed{seed}"
                own = {"out": folder, "head": head, "filters": five_widths([filters]), "seed": seed}
                training = TrainConfig(**{**shared, **own})
                evaluation = EvaluateOptions(**{**scoring, "run": folder, "split": None, "out": None, "batch_size": 32})
                runs.append(Planned(head, filters, seed, training, evaluation))
    return runs


def _names(options):
    return {entry.name for entry in fields(options)}
