"""The kernels of position maps and of the normalisation are audited, within budget, and stream without a barrier."""

import os

import pytest
import torch

from nerd_fast.kernels import limits
from nerd_fast.kernels.audit import findings, streams

pytestmark = pytest.mark.skipif(
    os.environ.get("TRITON_INTERPRET") == "1", reason="the interpreter compiles nothing: needs TRITON_INTERPRET unset"
)

CONTIGUOUS_MAP, LAST_MAP, *_, LAST_OF_14 = (c for c in streams.paper() if isinstance(c, streams.Map))
CONTIGUOUS_NORM, LAST_NORM, *_ = (c for c in streams.paper() if isinstance(c, streams.Norm))
SHIPPED = (CONTIGUOUS_MAP, LAST_MAP, LAST_OF_14, CONTIGUOUS_NORM, LAST_NORM)


@pytest.mark.slow
@pytest.mark.parametrize("architecture", [75, 90])
@pytest.mark.parametrize("configuration", SHIPPED, ids=str)
def test_the_papers_kernels_are_within_budget_and_need_no_barrier(configuration, architecture):
    found = findings.examine_configuration(configuration, architecture, which=[0, 1])
    assert len(found) == 2
    assert not [(finding.kernel, finding.breaches) for finding in found if finding.breaches]
    assert not any(finding.barriers for finding in found)


def test_a_normalisation_on_tensor_cores_needs_no_barrier():
    norm = streams.Norm(16, (8,), "tf32", layout="channels_last")
    found = findings.examine_configuration(norm, 80, which=[0, 1])
    assert not any(finding.barriers for finding in found)


def test_every_corner_is_one_that_the_kernels_run():
    for corner in streams.corners():
        norm = isinstance(corner, streams.Norm)
        calibrator = {
            "hidden_channels": corner.hidden_channels if norm else None,
            "activation": corner.activation if norm else None,
            "precision": corner.precision if norm else None,
        }
        reason = limits.supports(
            variant="nerdnorm" if norm else "map",
            spatial_dims=len(corner.spatial),
            in_channels=corner.in_channels,
            out_channels=None if norm else corner.out_channels,
            dtype=getattr(torch, corner.dtype),
            capability=(7, 5),
            **calibrator,
        )
        assert reason is None
