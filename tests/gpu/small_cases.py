"""Small training steps of both heads that reach every kernel and every tail, to run under compute-sanitizer.

compute-sanitizer --tool memcheck python -m tests.gpu.small_cases
"""

import torch

import nerd_fast

SHAPES = [(2, 3, 5, 7), (3, 16, 15, 17), (1, 32, 16, 16), (2, 17, 3, 5, 6)]


def main():
    for head_class in (nerd_fast.NeRDm, nerd_fast.NeRDc):
        for shape in SHAPES:
            for classes in (1, 3):
                head = head_class(shape[1], classes, spatial_dims=len(shape) - 2, device="cuda", backend="triton")
                head(torch.randn(shape, device="cuda", requires_grad=True)).sum().backward()
    torch.cuda.synchronize()


if __name__ == "__main__":
    main()
