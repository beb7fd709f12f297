"""`nerd-fast verify`: what is wrong with a data set, before anything is trained on it."""

from nerd_fast.segmentation.base.errors import DataError
from nerd_fast.segmentation.base.files import check_file, whole_file
from nerd_fast.segmentation.data.verify import verify_dataset
from nerd_fast.segmentation.runs.loading import find_data


def run(options):
    """`nerd-fast verify`: every problem of every case, printed and, with --out, written as JSON; 3 for errors."""
    if options.out:
        check_file(options.out)
    dataset = find_data(options)
    size = tuple(options.size) if options.size else None
    report = verify_dataset(
        dataset,
        split=options.split,
        size=size,
        axis=options.axis,
        nonfinite=options.nonfinite,
        allow_geometry_mismatch=options.allow_geometry_mismatch,
    )
    print(report.text())
    if options.out:
        with whole_file(options.out) as temporary:
            temporary.write_text(report.json() + "\n", encoding="utf-8")
    return DataError.exit_code if report.errors else 0
