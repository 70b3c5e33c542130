"""Payment and account fraud."""

from __future__ import annotations

from datetime import timedelta

import fyke
from fyke import Expr, Pattern, col, func, ref

EARTH_DIAMETER_KM = 2 * 6371.0088


def card_testing(
    probe_below: float = 1.0,
    spree_above: float = 500.0,
    within: str | timedelta = "10m",
    card: str = "card",
    amount: str = "amount",
    country: str | None = "country",
) -> Pattern:
    """Find a tiny payment that tries whether a stolen card works, then a large one from elsewhere.

    Each probe is matched with the first large payment after it. Stages: probe, spree.

    Args:
        probe_below: a probe's amount is below this, in the currency of the column.
        spree_above: the large payment's amount is above this.
        within: the longest time from probe to spree, exclusive.
        card: column of the card's number, the key.
        amount: column of the amount.
        country: column of the country, which must differ between the two; None if it does not matter.
    """
    spree = col[amount] > spree_above
    if country is not None:
        spree = spree & (col[country] != ref("probe")[country])
    return (
        fyke.begin("probe", col[amount] < probe_below)
        .followed_by("spree", spree)
        .within(within)
        .by(card)
        .named("card testing")
    )


def great_circle_km(latitude_1: Expr, longitude_1: Expr, latitude_2: Expr, longitude_2: Expr) -> Expr:
    """Build the distance of two points on the globe by the haversine formula, within 0.5 %.

    Args:
        latitude_1: degrees, north positive; so are the others, east positive.
        longitude_1: degrees.
        latitude_2: degrees.
        longitude_2: degrees.

    Returns:
        Kilometres.
    """
    south_north = ((latitude_2 - latitude_1).radians() / 2).sin()
    west_east = ((longitude_2 - longitude_1).radians() / 2).sin()
    haversine = (
        south_north * south_north + latitude_1.radians().cos() * latitude_2.radians().cos() * west_east * west_east
    )
    # Rounding may lift the haversine of opposite points above 1, where asin is not defined.
    return func.least(haversine, 1.0).sqrt().asin() * EARTH_DIAMETER_KM


def impossible_travel(
    faster_than_kmh: float = 900.0,
    farther_than_km: float = 100.0,
    within: str | timedelta = "24h",
    user: str = "user",
    time: str = "ts",
    latitude: str = "latitude",
    longitude: str = "longitude",
) -> Pattern:
    """Find two events of a user, one right after the other, too far apart for the time between them.

    Stages: here, there.

    Args:
        faster_than_kmh: the speed that nobody travels at, in km/h.
        farther_than_km: shorter distances, in km, are the inaccuracy of locating and are left out.
        within: the longest time between the two, exclusive.
        user: column of the user, the key.
        time: column of the event time, a timestamp.
        latitude: column of the latitude, in degrees.
        longitude: column of the longitude, in degrees.
    """
    before = ref("here")
    distance_km = great_circle_km(before[latitude], before[longitude], col[latitude], col[longitude])
    hours = (col[time] - before[time]) / timedelta(hours=1)
    return (
        fyke.begin("here", col[latitude].is_not_null(), col[longitude].is_not_null())
        .next("there", distance_km > func.greatest(farther_than_km, hours * faster_than_kmh))
        .within(within)
        .by(user)
        .named("impossible travel")
    )
