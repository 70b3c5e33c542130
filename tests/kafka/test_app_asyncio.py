"""`async for row in app.matches()` on a real broker: committed rows, one by one, and a loop that is left in order."""

import asyncio
import threading

import pytest

import fyke
from fyke.errors import DataError, DefinitionError
from tests.kafka import apps, clients
from tests.kafka.test_app import topics, write  # noqa: F401

pytestmark = pytest.mark.kafka


def make(brokers, source, folder, **options):
    """An app that sends nothing anywhere, and its stream of matches."""
    user = {"consumer.session.timeout.ms": clients.SESSION_MS, "consumer.heartbeat.interval.ms": 300, "log_level": 0}
    app = fyke.App(
        clients.new_name("app"), brokers=brokers, folder=folder, commit_every="50ms", settings=user, **options
    )
    payments = app.topic(source, schema=apps.SCHEMA, time="ts", unit="s", out_of_order="5s")
    return app, apps.outputs(payments)["hits"]


def by_card(rows):
    found = {}
    for row in rows:
        found.setdefault(row["card"], []).append(apps.plain(row))
    return found


async def collect(rows, count=None):
    found = []
    async for row in rows:
        found.append(row)
        if len(found) == count:
            break
    await rows.aclose()
    return found


@pytest.mark.parametrize("waiting", [10_000, 1])
def test_rows_come_once_and_in_order_however_few_may_wait(brokers, topics, tmp_path, waiting):  # noqa: F811
    source, _ = topics
    made = apps.events(1000)
    write(brokers, source, made)
    app, hits = make(brokers, source, tmp_path)
    found = asyncio.run(collect(app.matches(hits, waiting=waiting, until="end")))
    assert by_card(found) == apps.expected(made, source)["hits"]


def test_leaving_the_loop_stops_the_app_and_another_goes_on_behind_it(brokers, topics, tmp_path):  # noqa: F811
    source, _ = topics
    made = apps.events(1000)
    write(brokers, source, made)
    app, hits = make(brokers, source, tmp_path)
    first = asyncio.run(collect(app.matches(hits), count=5))
    assert len(first) == 5
    assert app.status() is None
    assert not [t for t in threading.enumerate() if t.name.startswith("fyke")]
    again = asyncio.run(collect(app.matches(hits, since="earliest", until="end")))
    assert by_card(again) == apps.expected(made, source)["hits"]


def test_cancelling_the_task_stops_the_app(brokers, topics, tmp_path):  # noqa: F811
    source, _ = topics
    app, hits = make(brokers, source, tmp_path)

    async def cancelled():
        task = asyncio.create_task(collect(app.matches(hits)))
        while app.status() is None:
            await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(asyncio.wait_for(cancelled(), 40))
    assert app.status() is None


def test_what_stops_the_app_comes_out_of_the_loop(brokers, topics, tmp_path):  # noqa: F811
    source, _ = topics
    write(brokers, source, [(0, b"{no json", None)])
    app, hits = make(brokers, source, tmp_path)
    with pytest.raises(DataError, match="record 0 cannot be read"):
        asyncio.run(collect(app.matches(hits)))


def test_without_a_stream_there_must_be_one_that_is_sent_somewhere(brokers, topics, tmp_path):  # noqa: F811
    source, _ = topics
    app, _ = make(brokers, source, tmp_path)
    with pytest.raises(DefinitionError, match="say of which stream"):
        asyncio.run(collect(app.matches()))
