"""Quix Streams: windows of its StreamingDataFrame, row by row as its application runs them, state in RocksDB.

Without Kafka: what its main loop does for a message (a context, the composed function) is done here for rows that are
ready as (key, price, ts), with no decoding, no commit and no changelog, so the figure is an upper bound of it. Its
windows close when a later row of their key comes, so each key is sent one more at the end.
"""

from __future__ import annotations

import atexit
import functools
import shutil
import tempfile
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from unittest.mock import MagicMock

import pyarrow as pa

from benches.case import Outcome

TOPIC = "rows"
# Windows that would begin before time 0 do not exist there: all rows move by a whole number of windows.
SHIFT_MS = 3_600_000

Row = tuple[bytes, dict[str, float], int]


def rows(table: pa.Table, close_after: int) -> Callable[[], list[Row]]:
    """Return what makes the rows when first called, and has them from then on.

    Args:
        close_after: ms after the last row at which each key is sent one more.
    """

    def make() -> list[Row]:
        ts, key, price = (table[name].to_pylist() for name in ("ts", "key", "price"))
        end = max(ts) + SHIFT_MS + close_after
        body: list[Row] = [(b"%d" % k, {"price": p}, t + SHIFT_MS) for t, k, p in zip(ts, key, price, strict=True)]
        return body + [(b"%d" % k, {"price": 0.0}, end) for k in sorted(set(key))]

    return functools.cache(make)


def dataflow(kind: str, size: int, every: int, out_of_order_ms: int, sink: Callable[..., None]) -> Any:
    """Return the composed function of a windowed StreamingDataFrame that gives its results to `sink`."""
    from quixstreams.dataframe import DataFrameRegistry, StreamingDataFrame
    from quixstreams.dataframe.windows import Count, Max, Sum
    from quixstreams.models.topics import Topic, TopicConfig, TopicManager
    from quixstreams.processing import ProcessingContext
    from quixstreams.sinks import SinkManager
    from quixstreams.state import StateStoreManager

    registry = DataFrameRegistry()
    folder = tempfile.mkdtemp(prefix="fyke-bench-")  # one a round: windows always have a store on disk
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    stores = StateStoreManager(group_id="bench", state_dir=folder)
    context = ProcessingContext(
        commit_interval=3600,
        producer=MagicMock(),
        consumer=MagicMock(),
        state_manager=stores,
        sink_manager=SinkManager(),
        dataframe_registry=registry,
    )
    topics = TopicManager(topic_admin=MagicMock(), consumer_group="bench", auto_create_topics=False)
    topic = Topic(TOPIC)
    retention = {"retention.ms": "-1", "retention.bytes": "-1"}
    topic.broker_config = TopicConfig(num_partitions=1, replication_factor=1, extra_config=retention)
    frame = StreamingDataFrame(topic, topic_manager=topics, registry=registry, processing_context=context)
    registry.register_root(frame)
    grace = timedelta(milliseconds=out_of_order_ms)
    length = timedelta(milliseconds=size)
    if kind == "tumbling":
        window = frame.tumbling_window(length, grace_ms=grace)
    elif kind == "hopping":
        window = frame.hopping_window(length, timedelta(milliseconds=every), grace_ms=grace)
    else:
        window = frame.session_window(length, grace_ms=grace)
    window.agg(n=Count(), total=Sum("price"), most=Max("price")).final().update(sink)
    stores.on_partition_assign(stream_id=frame.stream_id, partition=0, committed_offsets={})
    context.init_checkpoint()
    return registry.compose_all()[TOPIC]


def subject(kind: str, size: int, every: int, out_of_order_ms: int) -> Callable[[list[Row]], Outcome]:
    """Return what runs the rows through a fresh dataflow."""

    def work(rows: list[Row]) -> Outcome:
        from quixstreams.context import copy_context, set_message_context
        from quixstreams.models.messagecontext import MessageContext

        totals: list[float] = []
        process = dataflow(kind, size, every, out_of_order_ms, lambda value: totals.append(value["total"]))
        for offset, (key, value, ts) in enumerate(rows):
            context = copy_context()
            context.run(set_message_context, MessageContext(topic=TOPIC, partition=0, offset=offset, size=0))
            context.run(process, value, key, ts, [])
        return Outcome(len(totals), total=sum(totals))

    return work
