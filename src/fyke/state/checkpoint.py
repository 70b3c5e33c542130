"""What a checkpoint is, and which one to go on from: a payload with a manifest, verified before a byte of it is used.

```
magic "FYKECKPT" | payload | manifest, a JSON object | u32 its length, u64 its XXH3-64 | magic
```

The manifest says what the payload is: name, position, fingerprint of the plan, size and XXH3-128. It stands behind the
payload so that a large one can be streamed. A checkpoint that is cut off, changed in a bit, or put under another name
does not verify; then the one before is taken, and told. XXH3 is the fastest of the checksums that libraries offer, and
its 128 bits leave nothing to chance, where a CRC of 32 bits lets one damage in 4 thousand million pass; it is no
protection against a forger.
"""

import dataclasses
import json
import re
import struct
import warnings
from collections.abc import Iterator
from typing import Any, Literal

import xxhash

from fyke.errors import StateError
from fyke.state import Data, Store, checked_name, parts_of

MAGIC = b"FYKECKPT"
VERSION = 1
_TAIL = struct.Struct("<IQ8s")
_FIELDS = {"version": int, "name": str, "fingerprint": str, "size": int, "digest": str}


class _Damage(StateError):
    """A checkpoint is not what was written, or not all of it: the one before may be."""


@dataclasses.dataclass(frozen=True, slots=True)
class Checkpoint:
    """State, and where its input goes on.

    Attributes:
        number: checkpoints of a store are numbered in the order in which they were made.
        position: what the sources go on from; whatever JSON holds.
        fingerprint: of the plan that the payload is a state of.
        payload: the state, as the engine wrote it.
    """

    number: int
    position: Any
    fingerprint: str
    payload: bytes


class Checkpoints:
    """The checkpoints of one task in a store: saved one after the other, the last few kept.

    Args:
        store: where to; may hold those of other tasks, too.
        keep: how many to keep, at least 1; more than 1, so that there is one to go back to.
        task: what they are checkpoints of, the first part of their names.

    >>> from fyke.state.remote import RemoteStore
    >>> checkpoints = Checkpoints(RemoteStore("memory://doc"), task="payments-0")
    >>> checkpoints.save(b"state", position={"row": 120}, fingerprint="5f1c")
    1
    >>> checkpoints.latest("5f1c").position
    {'row': 120}
    """

    def __init__(self, store: Store, *, keep: int = 3, task: str = "checkpoint") -> None:
        if keep < 1:
            raise StateError(f"keep must be at least 1, got {keep}")
        self._store = store
        self._keep = keep
        self._task = checked_name(task)
        self._pattern = re.compile(re.escape(task) + r"\.(\d{12})")
        self._damaged: set[int] = set()
        self._last: int | None = None

    def numbers(self) -> list[int]:
        """Return the numbers of the checkpoints that are there, ascending, verified or not."""
        matches = map(self._pattern.fullmatch, self._store.list())
        return [int(match[1]) for match in matches if match]

    def save(self, payload: Data, *, position: Any, fingerprint: str) -> int:
        """Keep a checkpoint, and let go of those that are too old; return its number.

        Args:
            payload: the state; an iterable of parts is written as it comes.
            position: what the sources go on from.
            fingerprint: of the plan.

        Raises:
            StateError: it could not be kept; those before it are as they were.
        """
        if self._last is None:
            self._last = max(self.numbers(), default=0)
        number = self._last = self._last + 1  # also if it fails: what is left of it keeps its name
        name = self._name(number)
        manifest = {"version": VERSION, "name": name, "position": position, "fingerprint": fingerprint}
        if not is_json(position):
            raise StateError(f"{self._store.name}: {name}: the position {position!r:.80} would not come back from JSON")
        self._store.save(name, written(payload, manifest))
        self._trim()
        return number

    def load(self, number: int) -> Checkpoint:
        """Return a checkpoint.

        Raises:
            StateError: there is none of this number, or it is damaged; names it.
        """
        name = self._name(number)
        manifest, payload = verified(self._store.load(name), name, f"{self._store.name}: {name}")
        return Checkpoint(number, manifest["position"], manifest["fingerprint"], payload)

    def latest(
        self, fingerprint: str | None = None, *, on_damage: Literal["previous", "error"] = "previous"
    ) -> Checkpoint | None:
        """Return the last checkpoint that verifies, None where there never was one.

        Args:
            fingerprint: of the plan that goes on from it. Default: any.
            on_damage: "previous": where one is damaged, take the one before it, with a warning that names the file;
                "error": raise instead.

        Raises:
            StateError: all are damaged, the last one that is not cannot be read (which need not be damage) or is of
                another version or plan; names the files.
        """
        if on_damage not in ("previous", "error"):
            raise StateError(f'on_damage must be "previous" or "error", got {on_damage!r}')
        damages: list[_Damage] = []
        for number in reversed(self.numbers()):
            try:
                found = self.load(number)
            except _Damage as damage:
                if on_damage == "error":
                    raise
                damages.append(damage)
                self._damaged.add(number)
                continue
            name = self._name(number)
            if fingerprint is not None and found.fingerprint != fingerprint:
                raise StateError(f"{self._store.name}: {name}: is of the plan {found.fingerprint}, not {fingerprint}")
            for told in damages:
                warnings.warn(f"{told}; going on from {name}", RuntimeWarning, stacklevel=2)
            return found
        if damages:
            raise StateError("no checkpoint can be restored: " + "; ".join(map(str, damages))) from damages[0]
        return None

    def _name(self, number: int) -> str:
        return f"{self._task}.{number:012}"

    def _trim(self) -> None:
        """Remove all but the last few of those that are not known to be damaged, the oldest first.

        What cannot be removed is told, and tried again with the next checkpoint: the new one is safe all the same.
        """
        try:
            numbers = self.numbers()
            good = [number for number in numbers if number not in self._damaged]
            for number in numbers:
                if number < good[-self._keep :][0]:
                    self._store.delete(self._name(number))
        except StateError as error:
            warnings.warn(f"{error}; older checkpoints are still there", RuntimeWarning, stacklevel=3)


def is_json(value: Any) -> bool:
    """Say whether a value is the same when it was written as JSON and read."""
    try:
        return bool(json.loads(json.dumps(value, allow_nan=False)) == value)
    except (TypeError, ValueError, RecursionError):
        return False


def written(payload: Data, manifest: dict[str, Any]) -> Iterator[bytes | memoryview]:
    """Yield the bytes of a checkpoint."""
    yield MAGIC
    digest, size = xxhash.xxh3_128(), 0
    for part in parts_of(payload):
        digest.update(part)
        size += len(part)
        yield part
    text = json.dumps(manifest | {"size": size, "digest": digest.hexdigest()}, allow_nan=False).encode()
    yield text
    yield _TAIL.pack(len(text), xxhash.xxh3_64_intdigest(text), MAGIC)


def verified(data: bytes, name: str, where: str) -> tuple[dict[str, Any], bytes]:
    """Return manifest and payload, if the bytes are what was written under this name.

    Raises:
        StateError: they are not, or they are of another version.
    """

    def damaged(how: str) -> _Damage:
        return _Damage(f"{where}: damaged: {how}")

    if len(data) < len(MAGIC) + _TAIL.size or not data.startswith(MAGIC):
        raise damaged("no checkpoint, or only a part of one")
    length, check, magic = _TAIL.unpack_from(data, len(data) - _TAIL.size)
    end = len(data) - _TAIL.size - length
    text = data[max(end, 0) : len(data) - _TAIL.size]
    if magic != MAGIC or end < len(MAGIC) or xxhash.xxh3_64_intdigest(text) != check:
        raise damaged("the manifest does not verify")
    try:
        manifest = json.loads(text)
        version = manifest["version"]
    except (ValueError, TypeError, LookupError, RecursionError) as error:
        raise damaged("the manifest is not that of a checkpoint") from error
    if version != VERSION:
        raise StateError(f"{where}: is of version {version!r}; this is a reader of version {VERSION}")
    if any(type(manifest.get(field)) is not kind for field, kind in _FIELDS.items()) or "position" not in manifest:
        raise damaged("the manifest is not that of a checkpoint")
    payload = memoryview(data)[len(MAGIC) : end]
    if len(payload) != manifest["size"] or xxhash.xxh3_128_hexdigest(payload) != manifest["digest"]:
        raise damaged("the payload does not verify")
    if manifest["name"] != name:
        raise damaged(f"it is {manifest['name']} under another name")
    return manifest, bytes(payload)


__all__ = ["Checkpoint", "Checkpoints", "is_json", "verified", "written"]
