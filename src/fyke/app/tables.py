"""A compacted topic as the rows of a table: records without a value are rows that delete their key."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from fyke.app.topics import TIMESTAMP, Topic
from fyke.kafka.records import Records

__all__ = ["with_deletions"]


def with_deletions(records: Records, topic: Topic) -> pa.RecordBatch:
    """Give the rows of records; of a table with those that delete, in which all is null but the key, where they stand.

    A key that is no text is none of the table's: such a record deletes nothing.
    """
    if topic.table_key is None or not records.tombstones:
        return records.rows
    keys, offsets, times = [], [], []
    for each in records.tombstones:
        try:
            keys.append(None if each.key is None else each.key.decode())
        except UnicodeDecodeError:
            continue
        offsets.append(each.offset)
        times.append(each.time)
    known = {topic.table_key: keys, TIMESTAMP: [time // 1_000_000 for time in times]}
    columns = [
        pa.array(known[field.name], pa.int64() if field.name == TIMESTAMP else field.type).cast(field.type)
        if field.name in known
        else pa.nulls(len(keys), field.type)
        for field in records.rows.schema
    ]
    gone = pa.RecordBatch.from_arrays(columns, schema=records.rows.schema)
    order = np.argsort(np.concatenate([records.offsets, np.array(offsets, np.int64)]), kind="stable")
    both = pa.Table.from_batches([records.rows, gone]).combine_chunks().to_batches()
    return both[0].take(pa.array(order)) if both else records.rows
