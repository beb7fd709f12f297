import pytest

from nerd_fast.segmentation.scores.tables import LA_METRICS, WMH_METRICS
from nerd_fast.segmentation.study import paper


@pytest.mark.parametrize(("published", "metrics"), [(paper.WMH, WMH_METRICS), (paper.LA, LA_METRICS)])
def test_the_papers_tables_are_complete(published, metrics):
    assert set(published.values) == {
        f"{model} {width}" for model in ("U-Net", "NeRDc", "NeRDm") for width in (256, 512)
    }
    assert all(row.keys() == {metric.key for metric in metrics} for row in published.values.values())


def test_jaccard_of_the_papers_table_follows_from_its_dice():
    for row in paper.LA.values.values():
        dice = row["dice"][0] / 100
        assert 100 * dice / (2 - dice) == pytest.approx(row["jaccard"][0], abs=0.3)
