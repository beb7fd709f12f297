"""Reads what the kernels compile to, without a GPU, and holds it to budgets: `python -m nerd_fast.kernels.audit`.

`configurations` lists what is read, `compilation` compiles it, `cubin` reads the machine code, `findings` judges it.
With `--counts`: `ptx` executes what was compiled, `counting` counts it, `gpus` says what that means on three cards,
`model` what it might take, `reach` and `for_now` judge it, `counted` prints it.
"""
