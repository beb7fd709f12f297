"""What `import nerd_fast` and `nerd-fast --help` load, and how long they take."""

import subprocess
import sys
import time

HEAVY = ("triton", "monai", "nibabel", "scipy", "pytorch_lightning", "matplotlib", "jsonargparse")


def run(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


def seconds(*command):
    best = float("inf")
    for _ in range(3):
        start = time.perf_counter()
        subprocess.run(command, capture_output=True, check=True)
        best = min(best, time.perf_counter() - start)
    return best


def test_a_head_runs_without_any_heavy_import_and_without_cuda():
    code = f"""
import sys, torch, nerd_fast
nerd_fast.NeRDm(4)(torch.randn(1, 4, 8, 8)).sum().backward()
print([name for name in {HEAVY} if name in sys.modules], torch.cuda.is_initialized())
"""
    assert run(code).split() == ["[]", "False"]


def test_every_public_name_is_there():
    run("import nerd_fast; [getattr(nerd_fast, name) for name in nerd_fast.__all__]")


def test_an_unknown_name_is_an_attribute_error():
    assert run("import nerd_fast; print(hasattr(nerd_fast, 'nothing'))").strip() == "False"


def test_import_costs_at_most_a_fifth_of_a_second_beyond_torch():
    code = (
        "import time, torch; t = time.perf_counter(); import nerd_fast; nerd_fast.NeRDm; print(time.perf_counter() - t)"
    )
    assert min(float(run(code)) for _ in range(3)) < 0.2


def test_help_answers_at_once():
    assert seconds(sys.executable, "-m", "nerd_fast", "--help") < 0.5
