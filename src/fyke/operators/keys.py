"""Keys that come out of the core again, as Arrow columns of the types that they came in with."""

from __future__ import annotations

import decimal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from fyke import expr as ex
from fyke.errors import DefinitionError
from fyke.expr import Expr
from fyke.operators.aggregates import from_physical
from fyke.schema import Field, Schema, arrow_of

__all__ = ["KeyPart", "Parts", "key_array", "key_parts", "named_keys"]

Parts = list[tuple[npt.NDArray[Any], npt.NDArray[np.uint8] | None]]
"""Per part of a key: its values; of text and bytes the offsets, and the bytes."""


@dataclass(frozen=True, slots=True)
class KeyPart:
    """A column of a key: its name, its type among schema.TYPES, and its Arrow type."""

    name: str
    type: str
    arrow: pa.DataType


def named_keys(keys: Mapping[str, Expr] | Sequence[Expr]) -> dict[str, Expr]:
    """Give every part of a key its name: that of its column, if no other is given.

    Raises:
        DefinitionError: a part without a name, or two of one name.

    >>> named_keys([ex.col.card])
    {'card': col.card}
    """
    if isinstance(keys, Mapping):
        return dict(keys)
    named: dict[str, Expr] = {}
    for key in keys:
        if not isinstance(key, ex.Column):
            raise DefinitionError(f"key {key!r}: it is no plain column, so it needs a name: name={key!r}")
        if key.name in named:
            raise DefinitionError(f'two parts of the key have the name "{key.name}"')
        named[key.name] = key
    return named


def key_parts(named: Mapping[str, Expr], types: Sequence[str], schema: Schema) -> tuple[KeyPart, ...]:
    """Say what the columns of a key are: a plain column keeps its Arrow type, anything computed has a plain one.

    Args:
        named: the parts of the key.
        types: their types, as a RowPlan has them.
        schema: the columns of the input.
    """
    return tuple(
        KeyPart(name, kind, arrow_of(schema[key.name] if isinstance(key, ex.Column) else Field(name, kind)))
        for (name, key), kind in zip(named.items(), types, strict=True)
    )


def key_array(part: KeyPart, values: npt.NDArray[Any], text: npt.NDArray[np.uint8] | None, n: int) -> pa.Array:
    """Give one column of the keys of n rows, as the core has taken them out. O(n)."""
    if n == 0:
        return pa.array([], part.arrow)
    if text is None:
        return from_physical(pa.array(values), part.arrow)
    plain = pa.large_string() if part.type == "string" else pa.large_binary()
    found = pa.Array.from_buffers(plain, n, [None, pa.py_buffer(values), pa.py_buffer(text)])
    if part.type == "any":
        return _payload(found.to_pylist(), part.arrow)
    if pa.types.is_dictionary(part.arrow):
        return found.cast(part.arrow.value_type).dictionary_encode().cast(part.arrow)
    if pa.types.is_fixed_size_binary(part.arrow):
        return pa.array(found.to_pylist(), part.arrow)
    return found.cast(part.arrow)


def _payload(tagged: list[bytes], arrow: pa.DataType) -> pa.Array:
    """Values as _core.encode_any made bytes of them: a tag, then the value (schema.can_be_key says which there are)."""
    if pa.types.is_decimal(arrow):
        return pa.array([decimal.Decimal(value[1:].decode()) for value in tagged], arrow)
    if pa.types.is_time(arrow):
        ns = [int.from_bytes(value[1:], "little", signed=True) for value in tagged]
        return pa.array(ns, pa.int64()).cast(pa.time64("ns")).cast(arrow)
    return pa.ExtensionArray.from_storage(arrow, pa.array([value[1:] for value in tagged], arrow.storage_type))
