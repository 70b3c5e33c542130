"""What customers do, and what they leave."""

from __future__ import annotations

from datetime import timedelta

import fyke
from fyke import Pattern, col


def abandoned_cart(
    patience: str | timedelta = "1h",
    customer: str = "customer",
    action: str = "action",
    added: str = "add",
    bought: str = "buy",
) -> Pattern:
    """Find carts into which nothing more was put and that were not paid for.

    One match per abandoned cart, when the patience is over: its last addition. At the end of the input every cart still
    open counts as abandoned. Stages: added (bought is an absence and has no event).

    Args:
        patience: how long after the last addition a cart is abandoned.
        customer: column of the customer, the key.
        action: column that says what the customer did.
        added: its value for putting something into the cart.
        bought: its value for paying.
    """
    return (
        fyke.begin("added", col[action] == added)
        .not_followed_by("bought", col[action].is_in([added, bought]))
        .within(patience)
        .by(customer)
        .named("abandoned cart")
    )
