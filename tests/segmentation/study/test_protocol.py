import pytest

from nerd_fast.segmentation.base.errors import UsageError
from nerd_fast.segmentation.study.protocol import crop_size, plan, resolve
from nerd_fast.segmentation.study.reproduce import ReproduceOptions


def planned(options, size=(160, 224)):
    return plan(options, size=size, split_file="study/split.json", channels=("FLAIR", "T1"), label="wmh")


@pytest.mark.parametrize(("study", "crop"), [("wmh", (160, 224)), ("la", (290, 240))])
def test_the_crop_is_the_papers(study, crop):
    assert crop_size(ReproduceOptions(study), largest=(640, 640)) == crop
    assert crop_size(ReproduceOptions(study, crop_axes="yx"), largest=(640, 640)) == crop[::-1]
    assert crop_size(ReproduceOptions(study, size=[64, 80]), largest=(640, 640)) == (64, 80)


def test_a_quick_study_leaves_out_padding_that_the_data_do_not_need():
    assert crop_size(ReproduceOptions("la", quick=True), largest=(240, 320)) == (240, 240)
    assert crop_size(ReproduceOptions("la"), largest=(240, 160)) == (290, 240)


def test_the_runs_are_those_of_section_3():
    runs = planned(resolve(ReproduceOptions("wmh", out="study"), 2016))
    assert len(runs) == 18
    assert {run.model for run in runs} == {f"{m} {f}" for m in ("U-Net", "NeRDc", "NeRDm") for f in (256, 512)}
    assert len({run.folder for run in runs}) == 18
    config = runs[0].training
    assert (config.lr, config.weight_decay, config.batch_size, config.epochs) == (1e-3, 1e-6, 14, 90)
    assert (config.milestones, config.gamma) == ([0.5, 0.7, 0.9], 0.5)
    assert config.filters == [16, 32, 64, 128, 256]
    assert runs[3].training.filters == [32, 64, 128, 256, 512]
    assert (config.every, config.split, config.size) == (1, "study/split.json", [160, 224])


def test_the_models_of_one_seed_come_before_the_next_seed():
    runs = planned(resolve(ReproduceOptions("la", out="study"), 9504))
    assert [run.seed for run in runs] == [0] * 6 + [1] * 6 + [2] * 6
    assert [run.training.head for run in runs[:3]] == ["conv", "nerdc", "nerdm"]


def test_what_is_chosen_reaches_training_and_evaluation():
    chosen = {"loss": "dice", "flip": True, "rotate": 10.0, "percentiles": [1.0, 99.0], "normalisation": "instance"}
    chosen |= {"nonfinite": "zero", "allow_geometry_mismatch": True}
    scoring = {"threshold": 0.3, "connectivity": 6, "label_2": "background", "score_in_crop": True, "flips": True}
    (run,) = planned(
        resolve(ReproduceOptions("wmh", out="study", heads=["nerdm"], filters=[64], seeds=[7], **chosen, **scoring), 9)
    )
    assert {name: getattr(run.training, name) for name in chosen} == chosen
    assert {name: getattr(run.evaluation, name) for name in scoring} == scoring
    assert (run.training.seed, run.training.head, run.evaluation.run) == (7, "nerdm", run.folder)


@pytest.mark.parametrize(("slices", "every", "epochs"), [(182, 1, 16), (1232, 4, 10), (9504, 32, 10), (3, 1, 1000)])
def test_a_quick_run_is_of_about_3000_slices_whatever_the_data(slices, every, epochs):
    options = resolve(ReproduceOptions("la", quick=True), slices)
    assert (options.every, options.epochs, options.batch_size) == (every, epochs, 4)
    assert (options.filters, options.seeds) == ([64], [0, 1])


def test_what_is_named_wins_over_quick():
    options = resolve(ReproduceOptions("wmh", quick=True, seeds=[5], epochs=3, every=7), 1000)
    assert (options.seeds, options.epochs, options.every) == ([5], 3, 7)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"heads": ["conv", "nerd"]}, "--heads: expected some of conv, nerdc, nerdm, coordconv, blind; found nerd"),
        ({"heads": []}, "--heads: expected each once; found none"),
        ({"seeds": [1, 1]}, "--seeds: expected each once; found 1 1"),
    ],
)
def test_an_impossible_selection_is_refused(options, message):
    with pytest.raises(UsageError, match=message):
        resolve(ReproduceOptions("wmh", **options), 100)


@pytest.mark.parametrize("options", [{"epochs": 0}, {"filters": [100]}, {"every": 0}])
def test_no_number_is_taken_for_a_default(options):
    with pytest.raises(UsageError, match=f"--{next(iter(options))}"):
        planned(resolve(ReproduceOptions("wmh", **options), 100))
