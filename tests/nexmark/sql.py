"""The Nexmark queries as SQL over complete tables: what the streams must come to."""

# Window bounds are in ms since the epoch, so that both sides write them in the same way.
QUERIES = {
    "q0": "SELECT auction, bidder, price, epoch_ms(date_time) AS ms FROM bids",
    "q1": "SELECT auction, bidder, price * 0.908::DOUBLE AS price, epoch_ms(date_time) AS ms FROM bids",
    "q2": "SELECT auction, price FROM bids WHERE auction % 123 = 0",
    "q4": """
        SELECT category, avg(final) AS price FROM (
            SELECT a.id, a.category, max(b.price) AS final FROM auctions a JOIN bids b
            ON a.id = b.auction AND b.date_time BETWEEN a.date_time AND a.expires GROUP BY a.id, a.category
        ) GROUP BY category""",
    "q5": """
        WITH starts AS (SELECT unnest([0, 2000, 4000, 6000, 8000]) AS back),
        counts AS (
            SELECT auction, epoch_ms(date_time) // 2000 * 2000 - back AS start_ms, count(*) AS n
            FROM bids, starts GROUP BY ALL
        ),
        most AS (SELECT start_ms, max(n) AS n FROM counts GROUP BY start_ms)
        SELECT auction, start_ms, n FROM counts JOIN most USING (start_ms, n)""",
    "q7": """
        WITH most AS (
            SELECT epoch_ms(date_time) // 10000 * 10000 AS start_ms, max(price) AS price FROM bids GROUP BY start_ms
        )
        SELECT b.auction, b.bidder, b.price, start_ms FROM bids b JOIN most m
        ON b.price = m.price AND epoch_ms(b.date_time) // 10000 * 10000 = start_ms""",
    "q8": """
        SELECT DISTINCT p.id, p.name, epoch_ms(p.date_time) // 10000 * 10000 AS start_ms
        FROM persons p JOIN auctions a
        ON p.id = a.seller AND epoch_ms(p.date_time) // 10000 = epoch_ms(a.date_time) // 10000""",
    "q11": """
        WITH gaps AS (
            SELECT bidder, epoch_ms(date_time) AS ms,
                   coalesce(ms - lag(ms) OVER (PARTITION BY bidder ORDER BY ms) > 1000, true) AS begins FROM bids
        ),
        sessions AS (
            SELECT bidder, ms, sum(begins::int) OVER (
                PARTITION BY bidder ORDER BY ms, begins DESC ROWS UNBOUNDED PRECEDING
            ) AS s
            FROM gaps
        )
        SELECT bidder, count(*) AS n, min(ms) AS start_ms, max(ms) + 1000 AS end_ms FROM sessions GROUP BY bidder, s""",
}
