"""What `import nerd_fast` loads, and the processor time that it takes."""

import subprocess
import sys

HEAVY = ("triton", "monai", "nibabel", "scipy", "pytorch_lightning", "matplotlib", "jsonargparse")


def run(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


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
        "import time, torch; t = time.process_time(); import nerd_fast; nerd_fast.NeRDm; print(time.process_time() - t)"
    )
    assert min(float(run(code)) for _ in range(3)) < 0.2
