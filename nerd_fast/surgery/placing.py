"""`placed`: a network that is given a window of an image, with heads that know where the window lies."""

import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from nerd_fast.calibrated import Calibrated
from nerd_fast.windows import Positions, positions

Network = TypeVar("Network", bound=nn.Module)
Place = tuple[int, ...] | list[tuple[int, ...]]  # one for the batch, or one for each sample


@contextmanager
def placed(model: Network, origin: Positions, extent: Positions) -> Iterator[Network]:
    """Within, `model(x)` takes x for the window at `origin` of an image of size `extent`, in pixels of x.

        with nerd_fast.placed(model, (96, 0), (512, 512)):
            logits = model(image[..., 96:288, 0:192])

    Every head and normalisation in the model sees the window on the grid of its own resolution: features at a quarter
    of the size of x have a quarter of origin and extent. Both are one position for the batch or one for each sample,
    as in the call of a head. What the model computes besides, padding above all, is that of x alone; one without heads
    is left as it is.

    The window holds for calls of `model` itself in the thread that entered, until it leaves, by an exception too. An
    inner `placed` replaces an outer one for the heads it reaches. Compiled models run uncompiled within, for their
    graphs do not see windows come and go. A copy made within sees no window. Activation checkpointing runs the model
    once more in the backward: enter inside of the function that is checkpointed.

    Raises TypeError or ValueError for arguments that are no positions, and for a model in `nn.DataParallel`, whose
    replicas run in other threads; within, ValueError when a head's grid cannot hold the
    window: where its features are no whole fraction of x, or origin or extent no multiple of it.
    """
    modules = _modules_with_a_calibrator(model)
    if not modules:
        yield model
        return
    dims = next(iter(modules)).spatial_dims
    window = {name: _required(name, value, dims) for name, value in (("origin", origin), ("extent", extent))}
    call = _Call(type(model).__name__, dims, window)
    with _nothing_compiled, ExitStack() as hooks:
        handles = [
            model.register_forward_pre_hook(call.begin, with_kwargs=True),
            model.register_forward_hook(call.end, always_call=True),
        ]
        for module, path in modules.items():
            handles.append(module.register_forward_pre_hook(_Placing(call, path), with_kwargs=True))
        for handle in handles:
            hooks.callback(handle.remove)
        yield model


def _modules_with_a_calibrator(model: nn.Module) -> dict[Calibrated, str]:
    if not isinstance(model, nn.Module):
        raise TypeError(f"model: expected an nn.Module, got {type(model).__name__}")
    for module in model.modules():
        if isinstance(module, nn.DataParallel):
            raise ValueError(
                "model: nn.DataParallel runs the parts of a batch in threads of their own, which would not see the "
                "window; pass its .module, or use DistributedDataParallel"
            )
    return {module: path for path, module in model.named_modules() if isinstance(module, Calibrated)}


def _required(name: str, value: Positions, dims: int) -> Place:
    place = positions(name, value, dims)
    if place is None:
        raise TypeError(f"{name}: expected a position, got None")
    return place


class _Call:
    """The window of the model's input, and the size of the input of the call that is running."""

    def __init__(self, model: str, dims: int, window: Mapping[str, Place]) -> None:
        self.model = model
        self.dims = dims
        self.window = window
        self.thread: int | None = threading.get_ident()  # None in a copy, which no thread has entered
        self.sizes: list[tuple[int, ...]] = []  # of the calls that are running, the innermost last

    def __getstate__(self) -> dict[str, Any]:
        # a copy of the model that is made within takes the hooks along, and nobody removes them from it
        return {**vars(self), "thread": None, "sizes": []}

    def is_elsewhere(self) -> bool:
        return self.thread is None or threading.get_ident() != self.thread

    # PyTorch hands in the keywords only where it knows, at that moment, that the hook wants them: not so where another
    # thread is just adding or removing the hook.
    def begin(self, model: nn.Module, positional: Any, named: Any = None) -> None:
        if self.thread is None:
            return
        if torch.compiler.is_dynamo_compiling():
            raise RuntimeError(
                "placed: a model is not compiled within, for its graph would keep the window; compile it before"
            )
        if self.is_elsewhere():
            return
        images = [v for v in (*positional, *named.values()) if isinstance(v, Tensor) and v.dim() == self.dims + 2]
        self.sizes.append(tuple(images[0].shape[2:]) if images else ())
        if torch.jit.is_tracing():  # type: ignore[attr-defined]
            raise RuntimeError(
                "placed: a model is not traced within, for sizes are not known there; pass origin= and extent= to the "
                "head in the forward that is traced, or use torch.export"
            )
        if not images:
            raise ValueError(
                f"placed: found no batch of images among the arguments of {self.model}, expected a tensor of "
                f"{self.dims + 2} dimensions, whose size origin and extent refer to"
            )

    def end(self, model: nn.Module, positional: Any, output: Any) -> None:
        if not self.is_elsewhere():
            self.sizes.pop()


class _NothingCompiled:
    """Compiled code runs as eager code while any thread is within; the setting is the process's, and shared."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.entered = 0
        self.stance: Any = None

    def __enter__(self) -> None:
        with self.lock:
            # the compiler takes seconds to load; where it is not loaded, nothing has been compiled
            if self.stance is None and "torch._dynamo" in sys.modules:
                self.stance = torch.compiler.set_stance("force_eager")
                self.stance.__enter__()
            self.entered += 1

    def __exit__(self, *failure: Any) -> None:
        with self.lock:
            self.entered -= 1
            if not self.entered and self.stance is not None:
                self.stance.__exit__(*failure)
                self.stance = None


_nothing_compiled = _NothingCompiled()


class _Placing:
    """The hook of one module: hands it the window of the running call, on its own grid."""

    def __init__(self, call: _Call, path: str) -> None:
        self.call = call
        self.path = path or "the head"

    def __call__(self, module: nn.Module, positional: Any, named: Any = None) -> Any:
        if self.call.is_elsewhere():
            return None
        if not self.call.sizes:
            raise RuntimeError(
                f"placed: {self.path} runs outside of a call of {self.call.model}, whose input origin and extent refer "
                "to; call the module that was placed, and not its forward or its parts"
            )
        features = tuple(positional[0].shape[2:] if positional else named["x"].shape[2:])
        return positional[:1], {**named, **self._window_on(features)}

    def _window_on(self, features: tuple[int, ...]) -> dict[str, Place]:
        return {
            name: [self._on_grid(name, one, features) for one in place]
            if isinstance(place, list)
            else self._on_grid(name, place, features)
            for name, place in self.call.window.items()
        }

    def _on_grid(self, name: str, place: tuple[int, ...], features: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(map(self._on_axis, [name] * len(place), place, self.call.sizes[-1], features))

    def _on_axis(self, name: str, pixels: int, size: int, features: int) -> int:
        scaled, rest = divmod(pixels * features, size)
        if (size % features and features % size) or rest:
            step = size // features if size % features == 0 else None
            multiple = f"a multiple of {step}" if step else f"{size} to be a whole multiple of {features}"
            raise ValueError(
                f"placed: {self.path} cannot hold the window: its features are {features} long where the input is "
                f"{size}; expected {name} to be {multiple}, got {pixels}"
            )
        return scaled
