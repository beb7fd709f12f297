"""NeRD segmentation heads (Zhang et al. 2021), fused: `NeRDm`, `NeRDc`, `NeRDNorm`, `replace_head`.

The names below load on first use, so that `import nerd_fast` and `nerd-fast --help` answer at once.
The heads need torch and numpy alone; Triton is loaded by the first call that launches a kernel.
"""

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

__version__ = "0.2.0"

_HERE = Path(__file__).resolve().parent
if not (_HERE / "kernels").is_dir():  # in a checkout, whose folder Python prefers to an installed package
    __path__.append(str(_HERE.parent))  # kernels/ lies beside this one

_HOME = {
    "NeRDNorm": "norm",
    "NeRDc": "heads",
    "NeRDm": "heads",
    "boundary_distances": "distances",
    "placed": "surgery",
    "replace_head": "surgery",
}
_MODULES = ("distances", "functional", "heads", "kernels", "norm", "ops", "reference", "segmentation", "surgery")

__all__ = ["NeRDNorm", "NeRDc", "NeRDm", "boundary_distances", "functional", "placed", "reference", "replace_head"]

if TYPE_CHECKING:
    from nerd_fast import functional, reference
    from nerd_fast.distances import boundary_distances
    from nerd_fast.heads import NeRDc, NeRDm
    from nerd_fast.norm import NeRDNorm
    from nerd_fast.surgery import placed, replace_head


def __getattr__(name: str) -> Any:
    if name in _HOME:
        value = getattr(import_module(f"nerd_fast.{_HOME[name]}"), name)
    elif name in _MODULES:
        value = import_module(f"nerd_fast.{name}")
    else:
        raise AttributeError(f"module 'nerd_fast' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME, *_MODULES})
