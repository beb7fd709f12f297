import math

from nerd_fast.segmentation.scores.statistics import PairedDifference
from nerd_fast.segmentation.scores.tables import DICE, HD, differences_table, results_table
from nerd_fast.segmentation.study import paper


def summary(dice, hd=10.0, undefined=0):
    return {
        "dice": {"mean": dice, "std": 0.1, "n": 4, "undefined": 0},
        "hd_voxel": {"mean": hd, "std": 1.0, "n": 4 - undefined, "undefined": undefined},
    }


def test_a_cell_is_the_mean_and_the_deviation_over_seeds():
    table = results_table("T", {"U-Net": [summary(0.7), summary(0.8), summary(0.9)]}, [DICE])
    assert table.rows == (("U-Net", "here, 3 seeds", "80.0 (10.00)"),)


def test_one_seed_has_no_deviation():
    assert results_table("T", {"U-Net": [summary(0.7)]}, [DICE]).rows == (("U-Net", "here, 1 seed", "70.0"),)


def test_undefined_values_stand_in_the_cell_and_are_explained():
    table = results_table("T", {"U-Net": [summary(0.7), summary(0.7, undefined=3)]}, [DICE, HD])
    assert table.rows[0][2:] == ("70.0 (0.00)", "10.0 (0.00) [3/8]")
    assert any("undefined" in note for note in table.notes)


def test_a_metric_that_a_seed_never_defined_has_no_mean():
    table = results_table("T", {"U-Net": [summary(0.7), summary(0.7, hd=math.nan, undefined=4)]}, [HD])
    assert table.rows[0][2] == "undefined [4/8]"


def test_the_papers_row_stands_under_ours_and_missing_models_are_named():
    table = results_table("T", {"U-Net 256": [summary(0.9)], "NeRDm 512": []}, [DICE, HD], paper=paper.LA)
    assert table.rows == (
        ("U-Net 256", "here, 1 seed", "90.0", "10.0"),
        ("U-Net 256", "paper, 3 runs", "90.3 (0.51)", "34.1 (3.09)"),
        ("NeRDm 512", "here, not run", "", ""),
        ("NeRDm 512", "paper, 3 runs", "90.3 (0.21)", "35.2 (2.49)"),
    )
    assert table.notes[-1] == "Missing: NeRDm 512."


def test_differences_carry_sign_interval_and_what_is_undefined():
    found = {"NeRDm": {"dice": PairedDifference(0.012, -0.003, 0.027, (0.012,), 12, 0)}}
    found["NeRDc"] = {"dice": PairedDifference(-0.012, -0.03, -0.001, (-0.012,), 12, 2)}
    table = differences_table("T", found, [DICE, HD])
    assert table.rows == (
        ("NeRDm", "+1.2 [-0.3, +2.7]", ""),
        ("NeRDc", "-1.2 [-3.0, -0.1], 2 undefined", ""),
    )


def test_a_difference_that_no_pair_defines_is_no_number():
    found = {"NeRDm": {"hd_voxel": PairedDifference(math.nan, math.nan, math.nan, (math.nan,), 12, 12)}}
    assert differences_table("T", found, [HD]).rows == (("NeRDm", "undefined"),)
