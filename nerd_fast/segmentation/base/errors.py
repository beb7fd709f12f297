"""Errors that a user can act on, each with the exit code of the command that meets it.

Every error takes one string, so that it survives the trip from a data-loading worker process.
"""


class NerdFastError(Exception):
    """Base of the errors below; each has the `exit_code` that the command line returns for it."""

    exit_code: int


class UsageError(NerdFastError):
    """An option, a configuration or an output folder that cannot be used."""

    exit_code = 2


class DataError(NerdFastError):
    """A file or a data set that cannot be trusted."""

    exit_code = 3


class CheckpointError(NerdFastError):
    """A checkpoint that is damaged, foreign, hostile or of another configuration."""

    exit_code = 4


class NonFiniteError(NerdFastError):
    """NaN or infinity in a loss, a weight or a logit."""

    exit_code = 5


class Interrupted(BaseException):
    """SIGINT or SIGTERM asked the command to stop, and it did so in good order; the exit code is 128 + signal.

    Not an Exception, so that nothing on the way mistakes it for a fault to handle.
    """

    def __init__(self, number: int) -> None:
        super().__init__(f"interrupted by signal {number}")
        self.exit_code = 128 + number
