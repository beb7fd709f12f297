"""A U-Net trainer for NeRD heads: NIfTI volumes in, trained networks, masks, metrics and figures out.

Where to find what; a file imports from its own line and from those above it:

| what | files |
|---|---|
| errors, output files | `errors`, `faults`, `files` |
| options | `config`, `study_options` |
| data: files, volumes, cases, splits, slices | `headers`, `volumes`, `splits`, `cases`, `layouts`, `layouts_named`, `layouts_listed`, `slices`, `verify`, `phantom` |
| the folder of a run and its data | `runs`, `checkpoints`, `loading` |
| the network and its masks | `network`, `windows`, `inference` |
| training | `sampling`, `signals`, `divergence`, `recording`, `training` |
| scores | `metrics`, `evaluation`, `statistics`, `tables` |
| pictures and pages | `drawing`, `plots`, `regions`, `figures`, `shift`, `shift_figures`, `page`, `report_tables` |
| the paper's studies, as it states them | `protocol` |
| commands on one run | `commands`, `prediction`, `examples`, `diagnosis`, `report`, `export`, `demo` |
| the study | `study`, `study_output`, `reproduce` |
"""  # noqa: E501 a line of the table is a line
