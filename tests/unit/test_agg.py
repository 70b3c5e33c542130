"""Aggregates as values: what is refused and in which words, how they are written, JSON and back."""

import pytest

from fyke import DefinitionError, agg, call, col, prev


class Product:
    """A user's aggregate that can be imported."""

    def add(self, x):
        pass

    def merge(self, other):
        pass

    def result(self):
        pass


AGGREGATES = [
    agg.count(),
    agg.count("price"),
    agg.sum(col.price * col.quantity),
    agg.min("price"),
    agg.max("price"),
    agg.mean("price"),
    agg.var("price"),
    agg.var("price", ddof=0),
    agg.std("price"),
    agg.first("price"),
    agg.last("price"),
    agg.arg_min("seller", by="price"),
    agg.arg_max("seller", col.price % 7),
    agg.median("price"),
    agg.quantile("price", 0.99),
    agg.distinct("seller"),
    agg.top_k("seller", 3),
    agg.collect("seller"),
    agg.udf(Product, "price"),
    agg.udf(Product, "price", "seller", result="string"),
]


@pytest.mark.parametrize("value", AGGREGATES, ids=repr)
def test_an_aggregate_is_written_as_the_code_that_makes_it(value):
    assert eval(repr(value), {"agg": agg, "col": col}) == value


@pytest.mark.parametrize("value", AGGREGATES, ids=repr)
def test_an_aggregate_goes_to_json_and_back(value):
    back = agg.from_json(agg.to_json(value), callables=True)
    assert back == value
    assert hash(back) == hash(value)


def test_different_aggregates_are_different():
    assert len(set(AGGREGATES)) == len(AGGREGATES)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: agg.sum(5), r"agg.sum\(5\): the name of a column or an expression is needed.*agg.count\(\)"),
        (lambda: agg.count(None, 1), "takes from 0 to 1 positional"),
        (lambda: agg.sum(prev.price), "it can read only the columns of its own row, not prev.price"),
        (lambda: agg.max(call(lambda row, match: 1)), "it can read only the columns of its own row"),
        (lambda: agg.var("x", ddof=-1), "agg.var: ddof is a whole number from 0, not -1"),
        (lambda: agg.std("x", ddof=0.5), "agg.std: ddof is a whole number from 0"),
        (lambda: agg.quantile("x", 1.5), "q is a number from 0 to 1, not 1.5"),
        (lambda: agg.quantile("x", float("nan")), "q is a number from 0 to 1"),
        (lambda: agg.top_k("x", 0), "k is a whole number from 1 to 1,024, not 0"),
        (lambda: agg.udf(5, "x"), r"agg.udf\(5\): a class, or a function"),
        (lambda: agg.udf(dict, "x"), r"agg.udf\(dict\): it has no method add, merge, result"),
        (lambda: agg.udf(Product, "x", result="number"), "result='number' is not one of int64"),
        (lambda: agg.udf(Product), "agg.udf: it takes 1 to 64 arguments, not 0"),
        (lambda: agg.udf("nowhere", "x"), 'write the name as "module:name"'),
        (lambda: agg.udf("nowhere:x", "x"), "No module named 'nowhere'"),
        (lambda: agg.udf("math:pi", "x"), "not callable"),
        (lambda: agg.Aggregate("average", (col.x,)), "aggregate 'average' is not one of count"),
        (lambda: agg.Aggregate("sum", (col.x,), 5), "agg.sum: it takes no parameter, got 5"),
        (lambda: agg.Aggregate("sum", (col.x,), None, Product), "an accumulator and a type of results are a udf's"),
        (lambda: agg.from_json({"kind": "sum"}), "not the JSON of an aggregate"),
        (lambda: agg.from_json(agg.to_json(agg.udf(Product, "x"))), "pass callables=True if you trust it"),
    ],
)
def test_what_is_no_aggregate_is_refused_where_it_is_written(make, words):
    with pytest.raises((DefinitionError, TypeError), match=words):
        make()


def test_a_local_class_has_no_json():
    class Local(Product):
        pass

    with pytest.raises(DefinitionError, match="a local class or function has no name"):
        agg.to_json(agg.udf(Local, "x"))
