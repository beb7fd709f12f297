"""torchvision beside a CPU build of torch.

PyPI's torchvision is compiled for CUDA builds of torch. Beside a CPU build its operators do not load, and the import
fails where it describes two of them. No segmentation network uses them: that they have a name is enough to import it.

`python -m tests.torchvision_operators FILE ARGUMENTS` runs a file with them.
"""

import importlib.util
import runpy
import sys

import torch


def declare_torchvision_operators() -> None:
    """Declares the two, without an implementation, where torchvision is installed and has not brought them."""
    if importlib.util.find_spec("torchvision") is None:
        return
    try:
        import torchvision  # noqa: F401
    except RuntimeError:
        for name in ("nms", "qnms"):
            torch.library.define(f"torchvision::{name}", "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")


if __name__ in ("__main__", "__mp_main__"):  # the latter in the processes that the file spawns
    declare_torchvision_operators()
if __name__ == "__main__":
    del sys.argv[0]
    runpy.run_path(sys.argv[0], run_name="__main__")
