"""Executes the PTX of the kernels on a CPU: what they compute as compiled, what they touch, and how often.

`launcher` compiles a Launch for an architecture and runs it; `machine` executes a parsed kernel, every thread of many
blocks in lockstep; `instructions` and the files beside it say what each instruction does; `memory` and `shadow` hold
what is read and written, and tell strays, misalignment, races and reads of what nothing wrote; `counts` counts.
It executes PTX and not machine code: what ptxas does, time, and concurrency stay unseen. numpy alone.
"""
