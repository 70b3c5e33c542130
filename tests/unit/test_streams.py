"""Streams as they are written: what is checked at once, what errors quote, how they look."""

import pyarrow as pa
import pytest

from fyke import DefinitionError, Engine, Field, Process, Schema, SchemaError, begin, call, col, prev, ref, stream
from fyke.nodes import Filter, order_of
from fyke.window import tumbling

SCHEMA = Schema((Field("ts", "timestamp"), Field("card", "string"), Field("amount", "float64"), Field("n", "int64")))
PAYMENTS = stream("payments", time="ts", schema=SCHEMA)
OPEN = stream("payments", time="ts")
PAIR = begin("probe", col.amount < 1).next("spree", col.amount > 500).within("10m")


class Counting(Process):
    def __init__(self, limit=1):
        self.limit = limit


def test_a_stream_is_a_value():
    one, other = OPEN.filter(col.amount > 1), OPEN.filter(col.amount > 1)
    assert one == other
    assert hash(one) == hash(other)
    assert one != OPEN.filter(col.amount > 1.0)
    assert {one: 1}[other] == 1
    assert repr(one) == "stream('payments').filter(col.amount > 1)"


def test_what_is_written_twice_is_one_box():
    union = OPEN.filter(col.n > 1).union(OPEN.filter(col.n > 1).select("n", "ts"))
    assert [node.kind for node in order_of([union.node])] == ["source", "filter", "select", "union"]


def test_methods_leave_the_stream_as_it_is():
    before = repr(OPEN)
    OPEN.filter(col.amount > 1).named("big")
    assert repr(OPEN) == before


@pytest.mark.parametrize(
    ("write", "quoted"),
    [
        (
            lambda s: s.filter(col.amont > 5),
            'payments.filter: col.amont > 5: no column "amont" (did you mean "amount"?)',
        ),
        (lambda s: s.filter(col.card > 5), "payments.filter: col.card > 5: cannot compare string with int64"),
        (lambda s: s.select("ts", "carde"), 'payments.select: col.carde: no column "carde" (did you mean "card"?)'),
        (lambda s: s.filter(col.n > 5).select(x=col.card * 2), "payments.filter.select: col.card * 2"),
        (lambda s: s.match(begin("a", col.crad == "x").within("1s")), "did you mean"),
        (lambda s: s.select("n").union(s.select("card")), "union: column `card` of payments.select is not in"),
        (lambda s: s.select("n").union(s.select(n=col.amount)), "column `n` is int64 in payments.select, double in"),
    ],
)
def test_with_a_schema_an_error_comes_where_the_stream_is_written(write, quoted):
    with pytest.raises(SchemaError) as error:
        write(PAYMENTS)
    assert quoted in str(error.value)
    write(OPEN)  # without one nothing can be wrong yet


@pytest.mark.parametrize(
    ("write", "quoted"),
    [
        (lambda: OPEN.filter(), "payments.filter: needs a condition"),
        (lambda: OPEN.filter(prev.n > 1), "it can read only the columns of its own row"),
        (lambda: OPEN.filter(ref("a").n > 1), "it can read only the columns of its own row"),
        (lambda: OPEN.filter(call(lambda row, match: True)), "it can read only the columns of its own row"),
        (lambda: OPEN.filter("amount > 5"), "not an expression"),
        (lambda: OPEN.filter(True), "not an expression"),
        (lambda: OPEN.select(), "payments.select: needs columns"),
        (lambda: OPEN.select("a", a=col.b), "column `a` is given twice"),
        (lambda: OPEN.with_columns(a=lambda row: 1), "is for map()"),
        (lambda: OPEN.branch(), "needs conditions by name"),
        (lambda: OPEN.branch(rest=col.n > 1), '"rest" is what none of them takes'),
        (lambda: OPEN.map(5), "is no function"),
        (lambda: OPEN.union(), "union: needs streams"),
        (lambda: OPEN.union(PAIR), "union: needs streams"),
        (lambda: OPEN.key_by(), "needs a column"),
        (lambda: OPEN.key_by("a", a=col.b), "two keys are named `a`"),
        (lambda: OPEN.key_by(one=col.a * 0 + 1, two=call("math:isnan", 1)), "is the same for all rows"),
        (lambda: OPEN.match(begin("a").followed_by("b")), "without within() its partial matches can wait for ever"),
        (lambda: OPEN.match(PAIR, max_partial=5), "max_partial= is not one of timeouts, max_partials"),
        (lambda: OPEN.match(PAIR).timeouts, "write match(..., timeouts=True)"),
        (lambda: OPEN.match(PAIR).side("lost"), 'has no output "lost"; its outputs beside the results: late, timeouts'),
        (lambda: OPEN.late, 'has no output "late"'),
        (lambda: OPEN.match(PAIR).late.match(PAIR), "no place in time any more"),
        (lambda: OPEN.match(PAIR).late.union(OPEN), "no place in time"),
        (lambda: OPEN.named(""), "a name is a string"),
        (lambda: OPEN.describe("svg"), 'expected "text" or "mermaid"'),
        (lambda: stream("", time="ts"), "is not empty"),
        (lambda: stream(time=""), "expected the name of a column"),
        (lambda: stream(time="ts", unit="m"), 'expected "s", "ms", "us" or "ns"'),
        (lambda: stream(time="t", schema=SCHEMA), "has no column `t` for the event time"),
        (lambda: stream(time="ts", schema={"ts": "int64"}), "expected a pyarrow Schema"),
        (lambda: stream(time="ts", out_of_order=5), "an integer needs"),
    ],
)
def test_what_needs_no_schema_is_refused_at_once(write, quoted):
    with pytest.raises(DefinitionError) as error:
        write()
    assert quoted in str(error.value) or "integer" in quoted


def test_the_columns_are_known_as_far_as_the_schema_tells():
    made = PAYMENTS.filter(col.n > 1).select("card", double=col.n * 2, share=col.n / 7, big=col.amount > 1, kind="web")
    types = {"card": pa.string(), "double": pa.int64(), "share": pa.float64(), "big": pa.bool_(), "kind": pa.string()}
    assert made.schema == pa.schema(types)
    assert PAYMENTS.with_columns(n=col.n * 1.5).schema.field("n").type == pa.float64()
    assert OPEN.select("card").schema is None
    assert PAYMENTS.map(dict).schema is None
    assert PAYMENTS.map(dict, schema=SCHEMA).schema == SCHEMA.to_arrow()


def test_the_columns_of_matches():
    pairs = PAYMENTS.key_by("card", hundreds=col.n // 100).match(PAIR.named("pair"), keep=["n"])
    event = pa.struct([("card", pa.string()), ("amount", pa.float64()), ("n", pa.int64())])
    time = pa.timestamp("ns", "UTC")
    assert pairs.schema == pa.schema(
        {
            "card": pa.string(),
            "key_2": pa.int64(),
            "pattern": pa.string(),
            "start": time,
            "time": time,
            "released": time,
            "id": pa.string(),
            "probe": event,
            "spree": event,
        }
    )


def test_a_branch_takes_what_the_earlier_ones_left():
    ways = OPEN.branch(big=col.n > 5, even=col.n % 2 == 0)
    assert isinstance(ways["even"].node, Filter)
    assert [repr(ways[name]) for name in ways] == [
        "stream('payments').filter(col.n > 5)",
        "stream('payments').filter(col.n % 2 == 0, not col.n > 5)",
        "stream('payments').filter(not col.n > 5, not col.n % 2 == 0)",
    ]


def test_a_drawing_names_what_a_box_takes():
    big = OPEN.filter(col.amount > 500)
    both = big.union(OPEN.select("n").named("numbers"))
    assert both.describe() == "\n".join(
        [
            "payments         source: time ts",
            "  │",
            "filter_1         col.amount > 500",
            "",
            "numbers          of payments",
            "                 n",
            "",
            "union_1          of filter_1, numbers",
        ]
    )
    mermaid = both.describe("mermaid")
    assert mermaid.startswith("flowchart TD")
    assert "n1 --> n3" in mermaid
    assert "n3 --> n4" in mermaid


@pytest.mark.parametrize(
    ("write", "quoted"),
    [
        (lambda: OPEN.join(OPEN), "say first by what rows belong together: key_by(...).join(...)"),
        (lambda: OPEN.key_by("n").filter(col.n > 1), "comes before the key: filter(...).key_by(...)"),
        (lambda: OPEN.window(tumbling("1m")).filter(col.n > 1), "say first what comes out of the windows"),
        (lambda: OPEN.table("n").filter(col.n > 1), "its changes are a stream: changes.filter(...)"),
        (lambda: OPEN.fliter(col.n > 1), "Stream has no 'fliter'"),
    ],
)
def test_a_method_that_is_not_there_says_where_it_is(write, quoted):
    with pytest.raises(AttributeError) as error:
        write()
    assert quoted in str(error.value)


@pytest.mark.parametrize(
    ("write", "quoted"),
    [
        (lambda: Engine(OPEN.key_by("n")), "not a Stream; say what is done by key: window, match, join"),
        (lambda: Engine({"a": OPEN.window(tumbling("1m"))}), "not a Stream; say what comes out: aggregate(...)"),
        (lambda: Engine(OPEN.table("n")).table(), "has had no rows yet, so its columns are not known"),
        (lambda: Engine(OPEN.table("n")).table("x"), 'there is no table "x"; the tables are table_1, results'),
        (lambda: OPEN.key_by("n").asof(OPEN.key_by("n"), how="right"), "payments.asof: how='right': it is one of"),
        (lambda: OPEN.process(Counting, params={"limt": 3}), "params= do not fit Counting: got an unexpected"),
    ],
)
def test_what_cannot_run_is_told(write, quoted):
    with pytest.raises(DefinitionError) as error:
        write()
    assert quoted in str(error.value)
