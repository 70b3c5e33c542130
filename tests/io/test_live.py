"""Live sources wait: for a row, for a batch to fill, for silence to be long; they lose nothing when left."""

import asyncio
import contextlib
import multiprocessing
import queue
import random
import threading
import time

import pyarrow as pa
import pytest

import fyke
from fyke import col
from fyke.errors import DataError
from fyke.io import Batch, Idle, Watermark, queues
from fyke.io.aio import AsyncQueueSink, AsyncQueueSource, BlockingSink, BlockingSource
from fyke.io.collect import ListSink
from fyke.io.live import IteratorSource
from fyke.io.queues import END, QueueSink, QueueSource


def numbers(batch):
    return batch.rows.column("n").to_pylist()


def shape(items):
    """Items in short: the numbers of a batch's rows, or the item itself."""
    return [numbers(item) if isinstance(item, Batch) else item for item in items]


class TestQueueSource:
    def test_a_row_goes_out_at_once_when_no_other_is_there(self):
        target = queue.Queue()
        source = iter(QueueSource(target))
        for n in range(3):
            target.put({"n": n})
            assert numbers(next(source)) == [n]

    def test_linger_makes_one_batch_of_rows_that_come_apart(self):
        target = queue.Queue()

        def produce():
            for n in range(5):
                target.put({"n": n})
                time.sleep(0.01)

        threading.Thread(target=produce).start()
        began = time.monotonic()
        assert numbers(next(iter(QueueSource(target, linger="1s")))) == [0, 1, 2, 3, 4]
        assert 0.9 < time.monotonic() - began < 20

    def test_silence_is_said(self):
        target = queue.Queue()
        items = iter(QueueSource(target, idle="20ms"))
        assert next(items) == Idle()
        target.put({"n": 1})
        target.put(END)
        assert shape(items) == [[1]]

    def test_closing_from_another_thread_ends_a_wait(self):
        source = QueueSource(queue.Queue())
        closer = threading.Timer(0.05, source.close)
        closer.start()
        assert list(source) == []
        assert list(source) == []

    def test_leaving_an_iteration_loses_nothing(self):
        target = queue.Queue()
        for thing in [{"n": 0}, Watermark(1), {"n": 1}, Watermark(2), {"n": 2}, END]:
            target.put(thing)
        source = QueueSource(target)
        found = []
        for _ in range(10):
            for item in source:
                found.append(item)
                break
        assert shape(found) == [[0], Watermark(1), [1], Watermark(2), [2]]
        assert [item.first for item in found if isinstance(item, Batch)] == [0, 1, 2]

    def test_what_was_handed_out_is_done_when_the_next_item_is_asked_for(self):
        target = queue.Queue()
        for thing in [{"n": 0}, {"n": 1}, Watermark(1), {"n": 2}, END]:
            target.put(thing)
        left = []
        for _ in QueueSource(target):
            left.append(target.unfinished_tasks)
        assert left == [5, 3, 2]
        target.join()

    def test_a_queue_of_another_process_ends_with_its_end_mark(self):
        target = multiprocessing.Queue()
        for n in range(3):
            target.put({"n": n})
        target.put(END)
        assert [n for batch in QueueSource(target) for n in numbers(batch)] == [0, 1, 2]

    def test_a_queue_that_was_shut_down_ends(self, monkeypatch):
        """As queues of Python 3.13 can be; what they raise then is put in here for any version."""

        class ShutDown(Exception):
            pass

        class Queue(queue.SimpleQueue):
            def get(self, block=True, timeout=None):
                if self.empty():
                    raise ShutDown
                return super().get(block, timeout)

        monkeypatch.setattr(queues, "_SHUT_DOWN", (ShutDown,))
        target = Queue()
        target.put({"n": 0})
        assert shape(QueueSource(target, linger="1m")) == [[0]]

    def test_a_full_queue_is_an_error_after_the_timeout(self):
        sink = QueueSink(queue.Queue(2), timeout="10ms")
        with pytest.raises(DataError, match="queue: full for 0.01 s; nobody takes from it"):
            sink.write(pa.table({"n": [1, 2, 3]}))

    def test_a_sink_feeds_a_source(self):
        target = queue.Queue()
        with QueueSink(target, tables=True) as sink:
            sink.write(pa.table({"n": [1, 2]}))
            sink.write(pa.table({"n": [3]}))
        assert shape(QueueSource(target)) == [[1, 2], [3]]


class TestIteratorSource:
    def test_a_row_goes_out_while_the_iterator_waits_for_the_next(self):
        go_on = threading.Event()

        def rows():
            yield {"n": 0}
            go_on.wait(10)
            yield {"n": 1}

        items = iter(IteratorSource(rows()))
        assert numbers(next(items)) == [0]
        go_on.set()
        assert shape(items) == [[1]]

    def test_what_the_iterator_raises_is_raised_after_the_rows_before(self):
        def rows():
            yield {"n": 0}
            yield {"n": 1}
            raise ConnectionResetError("gone")

        source = IteratorSource(rows(), linger="1m", name="sensor")
        items = iter(source)
        assert numbers(next(items)) == [0, 1]
        with pytest.raises(DataError, match=r"sensor: failed after row 1: ConnectionResetError\('gone'\)"):
            next(items)

    def test_closing_ends_the_iteration_and_the_thread(self):
        def rows():
            n = 0
            while True:
                yield {"n": n}
                n += 1

        source = IteratorSource(rows(), batch_size=10)
        first = next(iter(source))
        assert first.first == 0
        source.close()
        assert list(source) == []
        source._pump.join(10)
        assert not source._pump.is_alive()


def run(main):
    """Run a coroutine, in a bounded time, and fail on tasks that were forgotten."""

    async def bounded():
        before = asyncio.all_tasks()
        result = await asyncio.wait_for(main, 30)
        await asyncio.sleep(0)
        assert asyncio.all_tasks() <= before
        return result

    return asyncio.run(bounded())


class TestAsyncQueueSource:
    def test_a_row_goes_out_at_once_when_no_other_is_there(self):
        async def main():
            target = asyncio.Queue()
            items = aiter(AsyncQueueSource(target))
            found = []
            for n in range(3):
                target.put_nowait({"n": n})
                found.append(numbers(await anext(items)))
            await items.aclose()
            return found

        assert run(main()) == [[0], [1], [2]]

    def test_linger_and_idleness_go_by_the_loops_clock(self):
        async def main():
            target = asyncio.Queue()

            async def produce():
                for n in range(3):
                    await target.put({"n": n})
                    await asyncio.sleep(0.01)
                await asyncio.sleep(2)
                await target.put(END)

            producer = asyncio.create_task(produce())
            found = [item async for item in AsyncQueueSource(target, linger="500ms", idle="1s")]
            await producer
            return found

        assert shape(run(main())) == [[0, 1, 2], Idle()]

    def test_closing_ends_a_wait(self):
        async def main():
            source = AsyncQueueSource(asyncio.Queue())
            asyncio.get_running_loop().call_later(0.05, lambda: tasks.append(asyncio.create_task(source.aclose())))
            tasks = []
            found = [item async for item in source]
            await asyncio.gather(*tasks)
            return found

        assert run(main()) == []

    @pytest.mark.parametrize("seed", range(5))
    def test_a_consumer_cancelled_at_any_moment_loses_nothing(self, seed):
        rng = random.Random(seed)

        async def main():
            target = asyncio.Queue(3)
            source = AsyncQueueSource(target, batch_size=4, linger="1ms")
            found = []

            async def produce():
                for n in range(300):
                    await target.put({"n": n})
                    if rng.random() < 0.2:
                        await asyncio.sleep(rng.random() * 0.002)
                await target.put(END)

            async def consume():
                async for batch in source:
                    found.extend(numbers(batch))
                return True

            producer = asyncio.create_task(produce())
            while True:
                consumer = asyncio.create_task(consume())
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(consumer, rng.random() * 0.004)
                    if consumer.result():
                        break
                with contextlib.suppress(asyncio.CancelledError):
                    await consumer
            await producer
            return found

        assert run(main()) == list(range(300))

    def test_an_async_iterator_is_read_on_after_an_iteration_was_left(self):
        async def main():
            async def rows():
                for n in range(5):
                    await asyncio.sleep(0.001)
                    yield {"n": n}

            source = AsyncQueueSource(rows(), batch_size=1)
            found = []
            for _ in range(3):
                async with contextlib.aclosing(aiter(source)) as items:
                    found.append(await anext(items))
            found += [item async for item in source]
            return found

        assert shape(run(main())) == [[0], [1], [2], [3], [4]]

    def test_what_an_async_iterator_raises_is_raised_after_the_rows_before(self):
        async def main():
            async def rows():
                yield {"n": 0}
                raise ConnectionResetError("gone")

            items = aiter(AsyncQueueSource(rows(), linger="1m"))
            found = [await anext(items)]
            with pytest.raises(DataError, match="failed after row 0: ConnectionResetError"):
                await anext(items)
            return found

        assert shape(run(main())) == [[0]]

    def test_joining_the_queue_waits_for_what_was_handed_out(self):
        async def main():
            target = asyncio.Queue()
            for n in range(3):
                target.put_nowait({"n": n})
            items = aiter(AsyncQueueSource(target))
            await anext(items)
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(target.join(), 0.02)
            await items.aclose()
            await asyncio.wait_for(target.join(), 5)

        run(main())


class TestBesideALoop:
    def test_an_engine_in_a_thread_reads_and_writes_queues_of_the_loop(self):
        pattern = fyke.begin("low", col.n < 2).followed_by("high", col.n > 7).within("10m")

        def work(source, sink):
            for results in fyke.replay(source, pattern, time="ts", unit="s").results():
                sink.write(results.to_arrow())
            sink.close()

        async def main():
            loop = asyncio.get_running_loop()
            payments, alerts = asyncio.Queue(), asyncio.Queue()
            source = BlockingSource(AsyncQueueSource(payments), loop)
            sink = BlockingSink(AsyncQueueSink(alerts), loop)
            working = asyncio.create_task(asyncio.to_thread(work, source, sink))
            for n in range(10):
                await payments.put({"ts": n, "n": n})
            await payments.put(Watermark(10**18))
            first = await alerts.get()  # found before the end of the input
            await payments.put(END)
            await working
            rest = []
            while (alert := await alerts.get()) is not END:
                rest.append(alert)
            return [first, *rest]

        found = run(main())
        assert [(alert["low"]["n"], alert["high"]["n"]) for alert in found] == [(0, 8), (1, 8)]

    def test_in_the_loops_own_thread_it_refuses_to_wait_for_itself(self):
        async def main():
            loop = asyncio.get_running_loop()
            with pytest.raises(DataError, match="would wait for its own event loop; use `async for`"):
                list(BlockingSource(AsyncQueueSource(asyncio.Queue()), loop))
            with pytest.raises(DataError, match="would wait for its own event loop"):
                BlockingSink(AsyncQueueSink(asyncio.Queue()), loop).write(pa.table({"n": [1]}))

        run(main())

    def test_a_loop_that_stopped_is_an_error_and_no_wait_for_ever(self):
        loop = asyncio.new_event_loop()
        thread = threading.Thread(target=loop.run_forever)
        thread.start()
        source = BlockingSource(AsyncQueueSource(asyncio.Queue()), loop)
        threading.Timer(0.1, lambda: loop.call_soon_threadsafe(loop.stop)).start()
        with pytest.raises(DataError, match="its event loop stopped"):
            list(source)
        thread.join()
        with pytest.raises(DataError, match="its event loop does not run"):
            list(source)
        loop.run_until_complete(source._source.aclose())
        loop.close()

    def test_closing_ends_an_iteration_that_waits(self):
        async def main():
            source = BlockingSource(AsyncQueueSource(asyncio.Queue()), asyncio.get_running_loop())
            reading = asyncio.create_task(asyncio.to_thread(list, source))
            await asyncio.sleep(0.05)
            await asyncio.to_thread(source.close)
            return await reading

        assert run(main()) == []


def test_the_watermark_of_a_source_lets_an_absence_come_true():
    pattern = fyke.begin("a", col.n == 1).not_followed_by("b", col.n == 2).within("10s").by("key")
    target = queue.Queue()
    for thing in [{"ts": 0, "n": 1, "key": "x"}, Idle(), Watermark(20 * 10**9), {"ts": 30, "n": 2, "key": "x"}, END]:
        target.put(thing)
    seen = []
    for partition in (None, "key"):
        found = ListSink()
        replay = fyke.replay(QueueSource(target), pattern, time="ts", unit="s", out_of_order="1h", partition=partition)
        for results in replay.results():
            found.write(results.to_arrow())
            seen.append(len(found.rows))
        if partition is None:
            assert seen[:2] == [0, 1]  # at the watermark, not at the end
            for thing in [{"ts": 0, "n": 1, "key": "x"}, Watermark(20 * 10**9), END]:
                target.put(thing)
        assert len(found.rows) == 1
