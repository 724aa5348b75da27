"""The one error of this package."""

from __future__ import annotations

from pathlib import Path

MIB = 1 << 20


class FileError(ValueError):
    """A file cannot be used as it was asked for; one line that names it, and the row if any."""


class TooLargeError(ValueError):
    """The contents of a file take more memory than allowed."""


def reason(error: Exception) -> str:
    """The message of an exception, in one line and without the name of the file."""
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(text.split())


def cannot(verb: str, path: Path, error: Exception) -> FileError:
    """Say that a file cannot be read, written or pooled, and why."""
    return FileError(f"cannot {verb} {str(path)!r}: {reason(error)}")


def check_file(path: Path) -> None:
    """Refuse anything but an ordinary file: reading a pipe could wait for ever."""
    if path.exists() and not path.is_file():
        raise FileError(f"{str(path)!r} is no file")


def check_size(what: str, nbytes: int, most_bytes: int) -> None:
    """Refuse a file by the size that it claims, before reading it."""
    if nbytes > most_bytes:
        raise TooLargeError(
            f"{what} take {-(-nbytes // MIB)} MiB to read, more than {most_bytes // MIB} MiB"
        )


def may_pass(error: Exception) -> bool:
    """Whether trying again may succeed: not if the content of a file is at fault."""
    if isinstance(error, FileError):
        cause = error.__cause__
        is_systems = isinstance(cause, OSError) and cause.errno is not None
        return is_systems or isinstance(cause, MemoryError)
    return True
