"""The tables that --counts writes into the page on kernels."""

import pytest

from nerd_fast.kernels.audit import page
from nerd_fast.kernels.audit.counting import Count
from nerd_fast.kernels.audit.gpus import GPUS
from nerd_fast.kernels.audit.model import Step

COUNT = Count(
    configuration="c", kernel="apply_forward", architecture=90, batch=16, programs=1120, warps=4, registers=80,
    shared_bytes=0, resident=6, kinds={}, instructions=1234.4, wavefronts=500, ideal_wavefronts=400, shuffles=20,
    barriers=3, products=0, issue_slots=1000, longest_slots=1000, float_slots=0, integer_slots=0, loop_issue_slots=0,
    loop_float_slots=0, loop_integer_slots=0, loop_wavefronts=0, loop_shuffles=0, rounds=4, dram_bytes=3.015e9 * 0.01,
    sectors={},
)  # fmt: skip
KERNELS = {"apply_forward": 20e-6, "apply_backward": 30e-6, "calibrator_backward": 15e-6}


def test_a_row_holds_counts_and_bounds():
    written = page.text(
        [(GPUS[2], "nerdm", [COUNT])], [(GPUS[2], {14: Step(KERNELS, dict.fromkeys(KERNELS, 30e-6), 33e-6)})]
    )
    assert "| `apply_forward` | nerdm | 6 | 1,234 | 500 (400) | 20 | 3 | 10.0 | 10.1 | 4.8 |" in written
    assert "| H100 | 14 | 20 | 30 | 15 | 75 | 20% | 0.44 | 0.33 |" in written


def test_a_page_keeps_what_stands_around_its_tables(tmp_path):
    path = tmp_path / "page.md"
    path.write_text(f"a\n\n{page.BEGIN}\nold\n{page.END}\n\nb\n")
    page.insert(path, "new")
    assert path.read_text() == f"a\n\n{page.BEGIN}\n\nnew\n\n{page.END}\n\nb\n"


@pytest.mark.parametrize("text", ["", page.BEGIN, f"{page.END}{page.BEGIN}", f"{page.BEGIN}{page.END}" * 2])
def test_a_page_without_one_pair_of_marks_is_refused(tmp_path, text):
    path = tmp_path / "page.md"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"page\.md: expected one"):
        page.insert(path, "new")
    assert path.read_text() == text
