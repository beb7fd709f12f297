"""Reads what the kernels compile to, without a GPU, and holds it to budgets: `python -m nerd_fast.kernels.audit`.

`configurations` and `streams` list what is read, of heads and of position maps and normalisations; `compilation`
compiles it, `cubin` reads the machine code, `findings` judges it. With `--counts`: `ptx` executes what was compiled,
`counting` counts it, `gpus` says what that means on three cards, `model` what it might take, `reach` and `for_now`
judge it, `counted` prints it, and `page` writes it into docs/kernels.md.
"""
