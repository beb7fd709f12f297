"""Several processes that train as one: which is the first, and what the others do when one of them fails."""

from contextlib import contextmanager, suppress

import pytorch_lightning as pl
from torch import distributed

from nerd_fast.segmentation.base.errors import UsageError

# What torch.distributed says when a peer is gone: gloo (TCP), NCCL, and the store that they met at.
LOST = ("Connection closed by peer", "Connection reset by peer", "Broken pipe", "gloo", "NCCL", "DistStoreError")


@contextmanager
def none_alone(trainer: pl.Trainer):
    """Within, each process prepares to train; where one of them cannot, all of them end.

    A process that raised does so still. The others, which would wait for it until torch.distributed gives up after half
    an hour, raise UsageError. Processes that are yet to be started by this one are not started.
    """
    failure = None
    try:
        yield
    except BaseException as error:
        failure = error
    launcher, strategy = trainer.strategy.launcher, trainer.strategy
    started_here = launcher is not None and not strategy.cluster_environment.creates_processes_externally
    if launcher is None or (failure and started_here):
        if failure:
            raise failure
        return

    def exchange():
        strategy.setup_environment()
        return strategy.reduce_boolean_decision(failure is None, all=True)

    all_ready = launcher.launch(exchange, trainer=trainer)  # Lightning starts processes once; fit finds them there
    if not all_ready:
        _leave()
    if failure:
        raise failure
    if not all_ready:
        raise UsageError(
            "another process of this run failed before the training, and said why. Mend that, and start all again"
        )


@contextmanager
def peers_may_end(trainer: pl.Trainer):
    """Within, a process that ends while this one waits for it is a UsageError instead of a fault of torch's."""
    try:
        yield
    except RuntimeError as error:
        if trainer.world_size > 1 and any(word in f"{type(error).__name__}: {error}" for word in LOST):
            _leave()
            raise UsageError(
                "another process of this run has ended; its last message says why. Go on with --resume"
            ) from error
        raise


def _leave():
    """Leave the group of processes, whose threads gloo would else find at the interpreter's end with their peers gone.

    It aborts the process then, on a busy machine, and the exit code of what had failed is lost. NCCL's group is left to
    the interpreter: to leave it may mean to wait for a peer.
    """
    if distributed.is_initialized() and distributed.get_backend() == "gloo":
        with suppress(RuntimeError):
            distributed.destroy_process_group()
