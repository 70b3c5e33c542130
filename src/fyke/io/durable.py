"""Files that are there as a whole or not at all, and folders whose names have reached the medium."""

import contextlib
import os


def sync_folder(folder: str) -> None:
    """Wait until the names in a folder have reached the medium."""
    directory = os.open(folder or os.curdir, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def write_whole(path: str, data: bytes | memoryview) -> None:
    """Put a file in its place, or in that of the one before: whoever looks sees the one or the other.

    Raises:
        OSError: it could not be written; names it.
    """
    part = os.path.join(os.path.dirname(path), f".{os.path.basename(path)}.part")
    try:
        with open(part, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.rename(part, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(part)
        raise
    sync_folder(os.path.dirname(path))


__all__ = ["sync_folder", "write_whole"]
