"""Options: what cannot be is refused before anything runs, and what a run computes is told from how it runs."""

import pytest

from nerd_fast.segmentation.base.config import InferenceOptions, TrainConfig, five_widths, require
from nerd_fast.segmentation.base.errors import UsageError


@pytest.mark.parametrize(
    ("filters", "widths"),
    [([256], [16, 32, 64, 128, 256]), ([512], [32, 64, 128, 256, 512]), ([1, 2, 3, 4, 5], [1, 2, 3, 4, 5])],
)
def test_filters_are_the_deepest_or_all_five(filters, widths):
    assert five_widths(filters) == widths


@pytest.mark.parametrize("filters", [[], [100], [8], [0, 1, 2, 3, 4], [16, 32]])
def test_other_filters_are_refused(filters):
    with pytest.raises(UsageError, match="--filters"):
        five_widths(filters)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("epochs", 0),
        ("batch_size", -1),
        ("lr", 0.0),
        ("weight_decay", -1e-6),
        ("dropout", 1.0),
        ("milestones", [0.5, 1.0]),
        ("gamma", 0.0),
        ("size", [8, 160]),
        ("num_workers", -1),
        ("axis", 3),
        ("axis", -1),
        ("percentiles", [99.0, 1.0]),
        ("percentiles", [0.0, 101.0]),
        ("channels", []),
        ("channels", ["FLAIR", "T1", "FLAIR"]),
        ("label_values", [1]),
        ("label_values", [0, 0]),
        ("label_values", [0, 256]),
        ("hidden_channels", []),
        ("hidden_channels", [32, 0]),
        ("distance_scale", -1.0),
        ("distance_scale", float("nan")),
        ("seed", 2**63),
        ("gradient_clip_val", 0.0),
        ("precision", "bf16-true"),
        ("precision", "64-true"),
        ("precision", "16-true"),
        ("head", "linear"),
        ("lr", float("inf")),
        ("lr", "0.1"),
        ("epochs", 2.5),
        ("epochs", True),
        ("filters", 64),
        ("filters", [64.5]),
        ("size", [160]),
        ("size", 160),
        ("channels", "FLAIR"),
        ("normalisation", "layer"),
        ("resume", "yes"),
        ("devices", [0]),
        ("seed", None),
    ],
)
def test_an_impossible_option_is_named(name, value):
    with pytest.raises(UsageError, match=f"--{name.replace('_', '-')}: expected"):
        TrainConfig(**{name: value})


def test_the_label_is_no_channel():
    with pytest.raises(UsageError, match="--label: expected another image than the channels, FLAIR, lesion; found"):
        TrainConfig(channels=["FLAIR", "lesion"], label="lesion")


def test_precisions_of_earlier_checkpoints_have_the_names_of_today():
    assert [TrainConfig(precision=old).precision for old in ("32", "bf16", "16")] == [
        "32-true",
        "bf16-mixed",
        "16-mixed",
    ]


def test_slices_on_the_device_need_no_workers():
    with pytest.raises(UsageError, match="--num-workers: expected 0 with --data-on-device"):
        TrainConfig(data_on_device=True, num_workers=2)


def test_the_defaults_are_the_paper_s():
    config = TrainConfig()
    assert config.filters == [16, 32, 64, 128, 256]
    assert (config.epochs, config.batch_size, config.lr, config.weight_decay) == (90, 14, 1e-3, 1e-6)
    assert (config.milestones, config.gamma) == ([0.5, 0.7, 0.9], 0.5)
    assert (config.flip, config.rotate) == (False, 0.0)


def test_differences_name_what_changes_the_result():
    before = TrainConfig(data="a", out="b", num_workers=0)
    assert TrainConfig(data="c", out="d", num_workers=2, resume=True, override=True).differences(before) == []
    assert TrainConfig(lr=0.1, head="nerdm").differences(before) == ["head: conv -> nerdm", "lr: 0.001 -> 0.1"]


def test_a_missing_option_is_explained():
    with pytest.raises(UsageError, match="--out is missing: folder of the run"):
        require(TrainConfig(data="somewhere"), TrainConfig)


@pytest.mark.parametrize("options", [None, {"data": "a", "out": "b"}, InferenceOptions(run="a")])
def test_what_are_no_options_of_the_command_is_refused(options):
    with pytest.raises(TypeError, match=f"options: expected TrainConfig, got {type(options).__name__}"):
        require(options, TrainConfig)


def test_options_that_were_changed_after_they_were_made_are_checked_again():
    options = TrainConfig(data="a", out="b")
    options.epochs = "3"
    with pytest.raises(UsageError, match="--epochs: expected a whole number; found '3'"):
        require(options, TrainConfig)
