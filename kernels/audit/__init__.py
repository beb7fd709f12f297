"""Reads what the kernels compile to, without a GPU, and holds it to budgets: `python -m nerd_fast.kernels.audit`.

`configurations` lists what is read, `compilation` compiles it, `cubin` reads the machine code, `findings` judges it.
"""
