"""Standard output as a command needs it: no name of a file and no reader that has gone ends hours of work."""

import os
from typing import Any


class PatientOutput:
    """A text stream that writes to `stream`; what `stream` cannot encode is escaped.

    Once the reader of a pipe has gone (`nerd-fast train ... | head -1`) everything further is dropped.
    """

    def __init__(self, stream: Any) -> None:
        self.stream = stream

    def write(self, text: str) -> int:
        """Write, or drop, all of the text."""
        try:
            try:
                self.stream.write(text)
            except UnicodeEncodeError:
                encoding = self.stream.encoding
                self.stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
        except BrokenPipeError:
            self._drop()
        return len(text)

    def flush(self) -> None:
        """Hand on what is buffered."""
        try:
            self.stream.flush()
        except BrokenPipeError:
            self._drop()

    def _drop(self) -> None:
        # The stream keeps what it could not write, and the interpreter flushes it at its end.
        with open(os.devnull, "w", encoding="utf-8") as nowhere:
            os.dup2(nowhere.fileno(), self.stream.fileno())

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)
