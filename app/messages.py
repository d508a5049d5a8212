"""Messages that thread workers post to the panel."""

from collections.abc import Callable
from typing import Literal

from textual.message import Message

from engine.protocol.runs import RunFolder


class Told(Message):
    """A sentence for the person, shown as a notice without markup."""

    def __init__(self, text: str, severity: Literal["information", "warning", "error"] = "information") -> None:
        self.text, self.severity = text, severity
        super().__init__()


class Open(Message):
    """A run that was just made, to be opened."""

    def __init__(self, run: RunFolder) -> None:
        self.run = run
        super().__init__()


class Answered(Message):
    """A blocking call has answered; `take` hands the answer over."""

    def __init__(self, take: Callable[[], None]) -> None:
        self.take = take
        super().__init__()
