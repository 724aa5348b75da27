"""How far a job is, in a file beside its unfinished output; the file is also the lock of the run.

Why the lock is our own: filelock's stays on the disk when it is released, and nothing must be left
beside an output. Removing the file is only safe because of what `_open_locked` does.
"""

from __future__ import annotations

import json
import os
import stat
import sys
import zlib
from io import FileIO
from pathlib import Path
from typing import Any

from ._errors import FileError
from .outputs import BINARY, NO_LINK, sync

FIRST_FACT = "roialign_cy"
"""What the description of a job begins with: its version. It tells our files from others."""
STEPS_FACT = "steps"
"""Of how many steps the job is."""
_BEGINNING = f'{{"{FIRST_FACT}": '.encode()

if sys.platform == "win32":
    import msvcrt

    def _lock(descriptor: int) -> None:
        os.lseek(descriptor, 1 << 30, os.SEEK_SET)  # what is locked cannot be read by others
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        os.lseek(descriptor, 0, os.SEEK_SET)

else:
    import fcntl

    def _lock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


class Progress:
    """A file of lines: what the job is, then after each checkpoint how many steps are done.

    Lines are only ever appended, so that a run killed at any moment leaves earlier lines intact. A
    line ends in a checksum of itself and all lines before it. It counts only if that is right, and
    if it records more steps than the line before, but not more than the job has. After the first
    line that does not count none does: a damaged one loses the work since the one before it. A new
    job overwrites what was there.

    It is a context that holds the lock of the output until it ends. A file to which nothing was
    written is then removed.

    Attributes
    ----------
    facts : dict or None
        What the job is, including its number of steps; None if nothing was begun.
    steps : int
        How many of its steps are done.
    is_damaged : bool
        Whether the file contained lines that do not count.

    Raises
    ------
    FileError
        If another run holds it, or the file is not such a record.
    OSError
        If it cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.facts: dict[str, Any] | None = None
        self.steps = 0
        self.is_damaged = False
        self._end = 0  # of the last line that counts
        self._checksum = 0  # of everything up to there
        self._file = _open_locked(path)
        try:
            self._read()
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        if not self._file.closed and os.fstat(self._file.fileno()).st_size == 0:
            self.end()
        self._file.close()

    def begin(self, facts: dict[str, Any]) -> None:
        """Write what the job is, through to the disk; no step is done yet."""
        self._write(json.dumps(facts))
        os.fsync(self._file.fileno())
        sync(self.path.parent)
        self.facts, self.steps = facts, 0

    def record(self, steps: int) -> None:
        """Write how many steps are done and on the disk."""
        self._write(str(steps))
        self.steps = steps

    def end(self) -> None:
        """Remove the file."""
        if sys.platform == "win32":  # which removes no open file
            self._file.close()
        self.path.unlink(missing_ok=True)
        self._file.close()

    def _read(self) -> None:
        foreign = FileError(f"{str(self.path)!r} is in the way: it is no record of a run")
        if not stat.S_ISREG(os.fstat(self._file.fileno()).st_mode):
            raise foreign
        begins = self._file.read(len(_BEGINNING))
        if not _BEGINNING.startswith(begins):
            raise foreign
        content = begins + self._file.readall()
        for line in content.splitlines(keepends=True):
            text = line.rpartition(b" ")[0]
            if line != self._line(text):
                break
            value = json.loads(text)
            if isinstance(value, dict):
                self.facts, self.steps = value, 0
            elif self.facts and value in range(self.steps + 1, self.facts[STEPS_FACT] + 1):
                self.steps = value
            else:
                break
            self._count(line)
        self.is_damaged = self._end < len(content)

    def _line(self, text: bytes) -> bytes:
        return b"%s %08x\n" % (text, zlib.crc32(text, self._checksum))

    def _count(self, line: bytes) -> None:
        self._end += len(line)
        self._checksum = zlib.crc32(line, self._checksum)

    def _write(self, text: str) -> None:
        self._file.seek(self._end)
        self._file.truncate()
        line = self._line(text.encode())
        left = memoryview(line)
        while left:
            left = left[self._file.write(left) :]
        self._count(line)


def _open_locked(path: Path) -> FileIO:
    """Open or create a file, with an exclusive lock."""
    while True:
        if path.is_symlink():
            raise FileError(f"{str(path)!r} is in the way: it is a symbolic link")
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | NO_LINK | BINARY, 0o666)
        file = FileIO(descriptor, "r+")
        try:
            try:
                _lock(descriptor)
            except (BlockingIOError, PermissionError) as error:
                output = str(path.with_suffix(""))
                raise FileError(f"another run is writing {output!r}") from error
            # Its previous holder may have removed it in the meantime.
            if path.exists() and os.path.samestat(os.fstat(descriptor), path.lstat()):
                return file
        except BaseException:
            file.close()
            raise
        file.close()
