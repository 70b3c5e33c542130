"""The Nexmark queries as streams.

Two results of one window have the same time, that of its end, so an interval of 0 joins them.
"""

from fyke import Stream, agg, col, global_window, hopping, join, session, stream, trigger, tumbling

from .events import AUCTION_MS, DISORDER_MS, streams

SAMPLE = streams(50)


def source(name: str) -> Stream:
    return stream(name, time="date_time", out_of_order=f"{DISORDER_MS}ms", schema=getattr(SAMPLE, name).schema)


PERSONS, AUCTIONS, BIDS = source("persons"), source("auctions"), source("bids")
SAME_WINDOW = join.interval(0, 0)
AT_THE_END = {"window": global_window(), "trigger": trigger.end_of_stream()}

_bids_of_auctions = (
    AUCTIONS.key_by("id")
    .join(BIDS.key_by("auction"), join.interval(0, f"{AUCTION_MS}ms"))
    .filter(col.date_time_right <= col.expires)
)
_bids_by_auction = BIDS.key_by("auction").window(hopping("10s", "2s")).aggregate(n=agg.count())
_most_bids = _bids_by_auction.key_by(start=col.window_start).window(tumbling("2s")).aggregate(n=agg.max("n"))
_highest = BIDS.window(tumbling("10s")).aggregate(price=agg.max("price"))
_new_persons = PERSONS.key_by("id", "name").window(tumbling("10s")).aggregate(n=agg.count())
_new_sellers = AUCTIONS.key_by("seller").window(tumbling("10s")).aggregate(n=agg.count())

QUERIES: dict[str, Stream] = {
    "q0": BIDS.select("auction", "bidder", "price", ms=col.date_time),
    "q1": BIDS.select("auction", "bidder", price=col.price * 0.908, ms=col.date_time),
    "q2": BIDS.filter(col.auction % 123 == 0).select("auction", "price"),
    "q4": _bids_of_auctions.key_by("id", "category")
    .window(**AT_THE_END)
    .aggregate(highest=agg.max("price"))
    .key_by("category")
    .window(**AT_THE_END)
    .aggregate(price=agg.mean("highest"))
    .select("category", "price"),
    "q5": _bids_by_auction.key_by("window_start", "n")
    .join(_most_bids.key_by("start", "n"), SAME_WINDOW)
    .select("auction", "n", start_ms=col.window_start),
    "q7": BIDS.key_by("price")
    .join(_highest.key_by("price"), join.interval(0, "10s"))
    .filter(col.date_time >= col.window_start)
    .select("auction", "bidder", "price", start_ms=col.window_start),
    "q8": _new_persons.key_by("id")
    .join(_new_sellers.key_by("seller"), SAME_WINDOW)
    .select("id", "name", start_ms=col.window_start),
    "q11": BIDS.key_by("bidder")
    .window(session("1s"))
    .aggregate(n=agg.count())
    .select("bidder", "n", start_ms=col.window_start, end_ms=col.window_end),
}
