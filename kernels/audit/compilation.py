"""Compiles a launch for any NVIDIA architecture without a GPU, exactly as Triton's own launcher would specialise it."""

from triton import compile as triton_compile
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

WARP = 32
ALIGNED = [["tt.divisibility", 16]]


def compile_launch(launch, capability):
    """The compiled kernel (`.asm`, `.metadata`) of a Launch for a (major, minor) compute capability.

    Tensors may lie on the meta device; PyTorch's allocator aligns their memory, and so the compiler may rely on it.
    Needs a process without TRITON_INTERPRET.
    """
    source = ASTSource(launch.kernel, *specialisation(launch))
    major, minor = capability
    return triton_compile(source, target=GPUTarget("cuda", major * 10 + minor, WARP), options=dict(launch.options))


def specialisation(launch):
    """All that the compiler is told of the arguments of a Launch: types, constants, and which are multiples of 16."""
    signature, constants, attributes = {}, {}, {}
    for index, parameter in enumerate(launch.kernel.params):
        if parameter.name in launch.constants:
            signature[parameter.name] = "constexpr"
            constants[(index,)] = launch.constants[parameter.name]
        else:
            value = launch.arguments[parameter.name]
            signature[parameter.name] = _specialise(value, (index,), parameter, constants, attributes)
    return signature, constants, attributes


def _specialise(value, path, parameter, constants, attributes):
    """The type of one argument; what the compiler may assume of it goes into `constants` and `attributes`."""
    if isinstance(value, tuple):
        return tuple(_specialise(v, (*path, i), parameter, constants, attributes) for i, v in enumerate(value))
    if value is None or (isinstance(value, int) and value == 1 and not parameter.do_not_specialize):
        constants[path] = value
        return "constexpr"
    if isinstance(value, int):
        if value % 16 == 0 and not parameter.do_not_specialize:
            attributes[path] = ALIGNED
        return "i32" if -(2**31) <= value < 2**31 else "i64"
    attributes[path] = ALIGNED
    return "*" + {"float32": "fp32", "float16": "fp16", "bfloat16": "bf16"}[str(value.dtype).removeprefix("torch.")]
