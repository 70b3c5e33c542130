"""Joins by window and continuous aggregates as boxes of a graph: written, run, restored, explained."""

import pyarrow as pa
import pytest

import fyke
from fyke import DefinitionError, SchemaError, agg, begin, count_window, hopping, session, sliding, stream, tumbling
from fyke.expr import col
from fyke.testing import Driver

ORDERS = stream("orders", time="t", unit="s")
PAYMENTS = stream("payments", time="t", unit="s")
BY_ID, BY_ORDER = ORDERS.key_by("id"), PAYMENTS.key_by("order")
ORDERED = [{"t": 1, "id": "a", "n": 1}, {"t": 50, "id": "b", "n": 2}, {"t": 70, "id": "a", "n": 3}]
ALONE = [("a", 1, 10), ("a", 3, 30)]
PAID = [{"t": 2, "order": "a", "n": 10}, {"t": 71, "order": "a", "n": 30}, {"t": 80, "order": "c", "n": 40}]


def driven(streams, orders=ORDERED, payments=PAID):
    driver = Driver(streams)
    driver.send(orders, to="orders")
    driver.send(payments, to="payments")
    driver.end()
    return driver


def pairs(driver, *names):
    return [tuple(row[name] for name in ("id", *names)) for row in driver.rows()]


@pytest.mark.parametrize(
    ("window", "how", "expected"),
    [
        (tumbling("1m"), "inner", ALONE),
        (tumbling("1m"), "left", [("a", 1, 10), ("b", 2, None), ("a", 3, 30)]),
        (tumbling("1m"), "right", [("a", 1, 10), ("a", 3, 30), ("c", None, 40)]),
        (tumbling("1m"), "outer", [("a", 1, 10), ("b", 2, None), ("a", 3, 30), ("c", None, 40)]),
        (session("2s"), "inner", ALONE),
        (hopping("2m", "1m"), "inner", [*ALONE[:1], *ALONE[:1], ("a", 1, 30), ("a", 3, 10), *ALONE[1:], *ALONE[1:]]),
        (count_window(4), "inner", [("a", 1, 10), ("a", 1, 30), ("a", 3, 10), ("a", 3, 30)]),
    ],
)
def test_rows_of_one_window_and_key_are_joined(window, how, expected):
    joined = BY_ID.join(BY_ORDER, window, how=how)
    assert pairs(driven(joined), "n", "n_right") == expected


def test_the_columns_of_a_join_by_window():
    row = driven(BY_ID.join(BY_ORDER, tumbling("1m"), suffix="_paid")).rows()[0]
    names = ["id", "window_start", "window_end", "revision", "final", "t", "n", "t_paid", "n_paid"]
    assert list(row) == names
    assert (row["revision"], row["final"]) == (0, True)


def test_a_cogroup_gives_the_rows_of_each_side_as_a_list():
    found = driven(BY_ID.cogroup(BY_ORDER, tumbling("1m"))).rows()
    told = [(row["id"], [x["n"] for x in row["left"]], [x["n"] for x in row["right"]]) for row in found]
    assert told == [("a", [1], [10]), ("b", [2], []), ("a", [3], [30]), ("c", [], [40])]


def test_a_named_key_is_a_column_of_its_name():
    joined = ORDERS.key_by(who=col.id).join(PAYMENTS.key_by(payer=col.order), tumbling("1m"))
    assert [(row["who"], row["n"]) for row in driven(joined).rows()] == [("a", 1), ("a", 3)]


def test_late_rows_and_rows_without_a_key_are_put_aside_by_side():
    joined = BY_ID.join(BY_ORDER, tumbling("1m"))
    driver = Driver({"joined": joined, "late": joined.side("late_right"), "errors": joined.side("errors_left")})
    driver.send([{"t": 1, "id": "a", "n": 1}, {"t": 2, "id": None, "n": 2}, {"t": 500, "id": "a", "n": 3}], to="orders")
    driver.send([{"t": 500, "order": "a", "n": 30}, {"t": 2, "order": "a", "n": 40}], to="payments")
    driver.end()
    assert [row["n"] for row in driver.rows("late")] == [40]
    assert [row["n"] for row in driver.rows("errors")] == [2]
    assert [(row["n"], row["n_right"]) for row in driver.rows("joined")] == [(3, 30)]
    assert driver.results.late.boxes == ["window_join_1.right"]


def test_what_is_behind_a_join_by_window_takes_its_final_rows_alone():
    joined = BY_ID.join(BY_ORDER, tumbling("1m"), allowed_lateness="1h")
    spree = joined.match(begin("pair", col.n_right > 5).within("1h"), keep=["n_right"])
    driver = Driver({"joined": joined, "matches": spree})
    driver.send(ORDERED, to="orders")
    driver.send([*PAID, {"t": 3, "order": "a", "n": 11}], to="payments")
    driver.end()
    told = [(row["n_right"], row["revision"], row["final"]) for row in driver.rows("joined")]
    assert told == [(10, 0, False), (10, 1, False), (11, 1, False), (30, 0, False), (10, 2, True), (11, 2, True),
                    (30, 1, True)]  # fmt: skip
    assert [row["pair"]["n_right"] for row in driver.rows("matches")] == [10, 11, 30]


def test_a_join_by_window_goes_on_after_a_crash():
    streams = {"join": BY_ID.join(BY_ORDER, tumbling("1m")), "group": BY_ID.cogroup(BY_ORDER, session("30s"))}
    driver = Driver(streams)
    for row, to in [(ORDERED[0], "orders"), (PAID[0], "payments"), (ORDERED[1], "orders"), (PAID[1], "payments")]:
        driver.send(row, to=to)
        driver.kill_and_restore()
    driver.end()
    whole = driven(streams, ORDERED[:2], PAID[:2])
    assert driver.rows("join") == whole.rows("join")
    assert driver.rows("group") == whole.rows("group")


@pytest.mark.parametrize(
    ("write", "quoted"),
    [
        (lambda: BY_ID.join(BY_ORDER, "1m"), "orders.join: expected fyke.join.interval(...) or a window"),
        (lambda: BY_ID.join(PAYMENTS, tumbling("1m")), "the other side needs a key"),
        (lambda: BY_ID.join(PAYMENTS.key_by("a", "b"), tumbling("1m")), "the key has 1 parts on the left"),
        (lambda: BY_ID.join(BY_ORDER, tumbling("1m"), how="full"), "how='full': it is one of inner, left, right"),
        (lambda: BY_ID.join(BY_ORDER, tumbling("1m"), lateness="1m"), "lateness= is not one of allowed_lateness"),
        (lambda: BY_ID.join(BY_ORDER, fyke.join.interval(0, "1m"), trigger=None), "trigger= is for joins by window"),
        (lambda: BY_ID.join(BY_ORDER, sliding("1m")), "orders.join: sliding('1m') cannot join"),
        (lambda: BY_ID.cogroup(BY_ORDER, session(col.n)), "cannot join: its bounds belong to single rows"),
        (lambda: BY_ID.cogroup(BY_ORDER, fyke.join.interval(0, "1m")), "is no window"),
        (lambda: BY_ID.cogroup(BY_ORDER, tumbling("1m"), how="inner"), "how= is not one of allowed_lateness"),
        (lambda: BY_ID.join(BY_ORDER, fyke.global_window()), "never ends, so it needs a trigger"),
        (lambda: BY_ID.window(fyke.global_window()), "a sum that goes on is aggregate() without a window"),
        (lambda: BY_ID.window(tumbling("1m")).aggregate(final=agg.count()), "has a column `final` already"),
        (lambda: BY_ID.aggregate(), "needs an aggregate"),
        (lambda: BY_ID.aggregate(n=5), "n=5 is no aggregate"),
        (lambda: BY_ID.aggregate(id=agg.count()), "has a column `id` already"),
    ],
)
def test_what_cannot_be_is_refused_where_it_is_written(write, quoted):
    with pytest.raises(DefinitionError) as error:
        write()
    assert quoted in str(error.value)


def test_keys_of_other_types_are_refused():
    orders = stream("orders", time="t", unit="s", schema=pa.schema({"t": pa.int64(), "id": pa.int64()}))
    payments = stream("payments", time="t", unit="s", schema=pa.schema({"t": pa.int64(), "order": pa.string()}))
    with pytest.raises(SchemaError, match=r"window_join: key col.id of the left side is int64, col.order"):
        orders.key_by("id").join(payments.key_by("order"), tumbling("1m"))


# --- continuous aggregates


def test_every_row_changes_the_row_of_its_key():
    driver = Driver(BY_ID.aggregate(n=agg.count(), total=agg.sum("n")))
    driver.send(ORDERED)
    assert [tuple(row.values()) for row in driver.rows()] == [
        ("+I", "a", 1, 1, 0),
        ("+I", "b", 1, 2, 0),
        ("+U", "a", 2, 4, 1),
    ]
    assert list(driver.table().items()) == [
        {"id": "a", "n": 2, "total": 4, "revision": 1},
        {"id": "b", "n": 1, "total": 2, "revision": 0},
    ]
    driver.kill_and_restore()
    driver.send({"t": 0, "id": "b", "n": 5})
    assert driver.table().get("b") == {"id": "b", "n": 2, "total": 7, "revision": 1}


def test_a_sum_over_all_rows_is_a_table_of_one_row():
    driver = Driver(ORDERS.aggregate(n=agg.count()))
    driver.send(ORDERED)
    assert driver.table().get() == {"n": 3, "revision": 2}


def test_a_continuous_aggregate_is_a_table_for_joins_and_enrichment():
    totals = BY_ID.aggregate(n=agg.count())
    paid = BY_ORDER.aggregate(paid=agg.sum("n"))
    both = totals.join(paid, how="left", suffix="_paid")
    rich = PAYMENTS.key_by("order").enrich(totals)
    driver = driven({"both": both, "rich": rich, "totals": totals})
    assert [(row["order"], row["n_right"]) for row in driver.rows("rich")] == [("a", 2), ("a", 2), ("c", None)]
    assert driver.table("both").get("a")["paid"] == 40
    assert driver.table("totals").get("a") == {"id": "a", "n": 2, "revision": 1}


def test_sums_take_only_the_last_word_of_windows():
    minutes = BY_ID.window(tumbling("1m"), allowed_lateness="10m").aggregate(n=agg.count())
    driver = Driver(minutes.key_by("id").aggregate(n=agg.sum("n")))
    driver.send([*ORDERED, {"t": 0, "id": "a", "n": 5}])
    driver.end()
    assert driver.table().get("a")["n"] == 3


# --- what they say of themselves


def test_explain_says_what_waits_for_what():
    joined = BY_ID.join(BY_ORDER, tumbling("1m"), how="left", allowed_lateness="5m").named("paid")
    engine = fyke.Engine({"joined": joined, "totals": BY_ID.aggregate(n=agg.count())})
    engine.push(ORDERED, to="orders")
    engine.push(PAID, to="payments")
    text = engine.explain()
    for line in [
        "paid             of orders, payments",
        "left tumbling('1m') by col.id = col.order",
        "window join (left) by col.id in tumbling('1m')",
        "a result comes when the watermark reaches the end of its window",
        "a window is kept until the watermark reaches its end + 5m; a late row until then brings its result out again",
        "the watermark is that of both sides",
        "aggregate_1      of orders",
        "nothing waits; a key is kept for ever",
    ]:
        assert line in text, text


@pytest.mark.parametrize(
    ("window", "options", "line"),
    [
        (tumbling("1m"), {}, "a window is kept until the watermark reaches its end"),
        (tumbling("1m"), {"trigger": fyke.trigger.continuous("10s")}, "with each 10s of event time, and when the"),
        (session("1m"), {"trigger": fyke.trigger.count(5)}, "a result comes with every 5 rows of a window"),
        (count_window(6, 2), {}, "with every 2 rows of the key, by arrival; nothing waits"),
        (fyke.global_window(), {"trigger": fyke.trigger.per_update()}, "with every row; a key is kept for ever"),
        (fyke.global_window(), {"trigger": fyke.trigger.end_of_stream()}, "a result comes when the input ends"),
        (sliding("1m"), {}, "it is kept for 1m of event time"),
    ],
)
def test_explain_says_when_the_results_of_windows_come(window, options, line):
    engine = fyke.Engine(BY_ID.window(window, **options).aggregate(n=agg.count()))
    engine.push(ORDERED)
    assert line in engine.explain()
