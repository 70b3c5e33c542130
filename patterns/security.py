"""Attacks on accounts."""

from __future__ import annotations

from datetime import timedelta

import fyke
from fyke import Pattern, col


def brute_force(
    failures: int = 5,
    within: str | timedelta = "5m",
    account: str = "user",
    outcome: str = "outcome",
    failure: str = "failure",
    success: str = "success",
) -> Pattern:
    """Find a login that succeeds directly after many that failed: the password was guessed.

    One match per such login, with the last failures before it. Stages: failure (several), success.

    Args:
        failures: how many failed logins in a row, at least; any number more is the same match.
        within: the longest time from the first of these failures to the success, exclusive.
        account: column of the account, the key.
        outcome: column that says how the login ended.
        failure: its value for a failed login.
        success: its value for a successful one.
    """
    return (
        fyke.begin("failure", col[outcome] == failure)
        .times(failures)
        .consecutive()
        .next("success", col[outcome] == success)
        .within(within)
        .by(account)
        .named("brute force")
    )
