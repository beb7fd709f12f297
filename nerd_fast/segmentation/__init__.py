"""A U-Net trainer for NeRD heads: NIfTI volumes in, trained networks, masks, metrics and figures out.

Each wing imports from those above it alone:

| wing | what |
|---|---|
| `base` | errors, output files, signals, options, tables |
| `data` | headers, volumes, layouts, cases, splits, slices, verification, synthetic scans |
| `runs` | the folder of a run, its checkpoints and its data |
| `network` | the U-Net and the masks it makes |
| `training` | sampling, the training loop, its log |
| `scores` | metrics, evaluation, statistics, the paper's protocol |
| `pictures` | figures and pages |
| `commands` | what `nerd-fast COMMAND` does, a file each |
| `study` | the paper's studies |
"""
