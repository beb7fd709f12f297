"""`nerd-fast export`: a trained network for use elsewhere. `network.exported` says what the files hold."""

# ruff: noqa: RUF009  `option` is dataclasses.field with a help text
from dataclasses import dataclass
from typing import Literal

from nerd_fast.segmentation.base.config import InferenceOptions, Options, as_in, check, option, require


@dataclass
class ExportOptions(Options):
    """Weights as safetensors, and a torch.export program that needs neither Triton nor this package."""

    run: str | None = as_in(InferenceOptions, "run")
    out: str | None = option(None, "folder of model.safetensors, config.json and model.pt2", required=True)
    checkpoint: Literal["best", "last"] = as_in(InferenceOptions, "checkpoint")
    size: list[int] | None = option(
        None, "rows and columns of the program's slices (default: those of the run)", nargs=2
    )

    def __post_init__(self):
        super().__post_init__()
        check(self.size is None or min(self.size) > 0, "size", self.size, "two numbers above 0")


def run(options: ExportOptions) -> None:
    """Write the files and print where they are."""
    require(options, ExportOptions)
    from nerd_fast.segmentation.network.exported import write_exported

    for path in write_exported(options):
        print(path)
