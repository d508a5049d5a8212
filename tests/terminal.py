"""A command as the session leader of a pseudo-terminal of 80×24, and a terminal emulator that reads its screen."""

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import termios
import time
from collections.abc import Sequence
from pathlib import Path

import pyte

PATIENCE_S = 120
LINES, COLUMNS = 24, 80


class Terminal:
    """The command's terminal; everything it writes is kept in `raw`. Reading happens only in `read`, `until` and `end`."""

    def __init__(self, command: Sequence[str], **environment: str) -> None:
        self.screen = pyte.Screen(COLUMNS, LINES)
        self.stream = pyte.ByteStream(self.screen)
        self.raw = b""
        self.master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, COLUMNS, 0, 0))
        kept = {key: os.environ[key] for key in ("PATH", "HOME") if key in os.environ}
        environ = {**kept, "TERM": "xterm-256color", "LANG": "C.UTF-8", "PYTHONPATH": str(Path.cwd()), **environment}
        self.process = subprocess.Popen(
            command, stdin=slave, stdout=slave, stderr=slave, env=environ, start_new_session=True,
            # its controlling terminal, so that the kernel sends SIGHUP when the other end is closed
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )  # fmt: skip
        os.close(slave)

    def read(self, seconds: float) -> bool:
        """Take what comes within a time; False at the end."""
        ready, _, _ = select.select([self.master], [], [], seconds)
        if not ready:
            return True
        try:
            data = os.read(self.master, 65536)
        except OSError:
            return False
        self.raw += data
        # pyte does not know the private CSI sequences of newer keyboards and takes their tails for text
        self.stream.feed(re.sub(rb"\x1b\[[<>=?][0-9;]*[a-zA-Z$]+[a-z]?", b"", data))
        return bool(data)

    def unread(self) -> int:
        """Bytes that the command has written and nobody has read."""
        return struct.unpack("i", fcntl.ioctl(self.master, termios.FIONREAD, bytes(4)))[0]

    @property
    def text(self) -> str:
        """What the screen shows."""
        return "\n".join(self.screen.display)

    def until(self, words: str) -> str:
        """The screen once it shows `words`."""
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            if words in self.text:
                return self.text
            if not self.read(0.2):
                break
        raise AssertionError(f"{words!r} never came; the screen shows:\n{self.text}")

    def until_gone(self, words: str) -> str:
        """The screen once it no longer shows `words`."""
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            if words not in self.text:
                return self.text
            if not self.read(0.2):
                break
        raise AssertionError(f"{words!r} stayed; the screen shows:\n{self.text}")

    def press(self, keys: str) -> None:
        """Type."""
        os.write(self.master, keys.encode())

    def end(self) -> int:
        """Read on until the command is gone; its exit status."""
        deadline = time.monotonic() + PATIENCE_S
        while self.process.poll() is None and time.monotonic() < deadline:
            self.read(0.1)
        while select.select([self.master], [], [], 0)[0] and self.read(0):
            pass
        return self.process.wait(1)

    def close(self) -> int:
        """Close the terminal under the command, as a window that is closed; the exit status (minus a signal's number)."""
        os.close(self.master)
        self.master = -1
        return self.process.wait(PATIENCE_S)

    def clear_away(self) -> None:
        """End what is left after a test."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        if self.master >= 0:
            os.close(self.master)
