"""Queries over an auction site's events with disorder come to what SQL says of the complete tables."""

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from fyke import Engine

from .events import streams
from .queries import QUERIES
from .sql import QUERIES as SQL

EVENTS = 1_000_000
CHUNKS = 40


@pytest.fixture(scope="module")
def tables():
    made = streams(EVENTS)
    return {"persons": made.persons, "auctions": made.auctions, "bids": made.bids}


def streamed(query, tables):
    """Run a query over the tables it reads, side by side, in chunks."""
    engine = Engine(QUERIES[query])
    names = [name for name in tables if name in engine.statistics().inputs]
    found = []
    for chunk in range(CHUNKS):
        for name in names:
            table = tables[name]
            first, last = (table.num_rows * part // CHUNKS for part in (chunk, chunk + 1))
            pushed = engine.push(table.slice(first, last - first), to=name)
            found.append(pushed.results.to_arrow())
    found.append(engine.flush().results.to_arrow())
    return pa.concat_tables(each for each in found if each.num_rows), engine.statistics().late


def plain(table):
    """Rows in one order: times as ms, floats to 6 places, columns by name."""
    columns = {}
    for name in sorted(table.column_names):
        column = table[name].combine_chunks()
        if pa.types.is_timestamp(column.type):
            column = pc.cast(column, pa.timestamp("ms"), safe=False).cast(pa.int64())
        if pa.types.is_floating(column.type):
            column = pc.round(column, 6)
        columns[name] = column
    made = pa.table(columns)
    return made.sort_by([(name, "ascending") for name in made.column_names])


@pytest.mark.parametrize("query", QUERIES)
def test_a_query_over_streams_equals_sql_over_tables(query, tables):
    found, late = streamed(query, tables)
    database = duckdb.connect()
    for name, table in tables.items():
        database.register(name, table)
    expected = plain(database.sql(SQL[query]).to_arrow_table())
    found = plain(found)
    assert late == 0
    assert found.num_rows == expected.num_rows
    assert found.num_rows > 4
    for name in expected.column_names:
        assert found[name].cast(expected[name].type).equals(expected[name]), name
