"""The streams of a command as it needs them: no name of a file and no reader that has gone ends hours of work."""

import os
from typing import Any


class PatientOutput:
    """A text stream that writes to `stream`; what `stream` cannot encode is escaped.

    After an error of the kind `gone` everything further is dropped; by default that is a pipe whose reader has gone
    (`nerd-fast train ... | head -1`). None, as Python has it where a stream was closed (`>&-`), drops everything.
    """

    def __init__(self, stream: Any, gone: type[OSError] = BrokenPipeError) -> None:
        self.stream = open(os.devnull, "w", encoding="utf-8") if stream is None else stream  # noqa: SIM115
        self.gone = gone

    def write(self, text: str) -> int:
        """Write, or drop, all of the text."""
        try:
            try:
                self.stream.write(text)
            except UnicodeEncodeError:
                encoding = self.stream.encoding
                self.stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
        except self.gone:
            self._drop()
        return len(text)

    def flush(self) -> None:
        """Hand on what is buffered."""
        try:
            self.stream.flush()
        except self.gone:
            self._drop()

    def finish(self) -> None:
        """Hand on what is buffered, or drop it: what went wrong with it has been said."""
        self.gone = OSError
        self.flush()

    def _drop(self) -> None:
        # The stream keeps what it could not write, and the interpreter flushes it at its end.
        with open(os.devnull, "w", encoding="utf-8") as nowhere:
            os.dup2(nowhere.fileno(), self.stream.fileno())

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)
