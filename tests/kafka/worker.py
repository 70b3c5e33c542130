"""An instance of the app of apps.py as a process of its own, until SIGTERM.

    python -m tests.kafka.worker NAME BROKERS SOURCE OUT FOLDER SHARED PROTOCOL SESSION_MS

SIGUSR1 makes its next commit fail, so that it aborts and goes back.
"""

import faulthandler
import logging
import signal
import sys

from fyke.app.delivery import ExactlyOnce
from fyke.kafka.failures import AbortNeeded
from tests.kafka import apps

asked = []
commit = ExactlyOnce.commit


def commit_or_abort(self, offsets, reader, within_s):
    if asked:
        asked.clear()
        raise AbortNeeded("asked for")
    commit(self, offsets, reader, within_s)


def main():
    name, brokers, source, out, folder, shared, protocol, session_ms = sys.argv[1:]
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    ExactlyOnce.commit = commit_or_abort
    faulthandler.register(signal.SIGUSR2)  # says where it is, if it does not end
    signal.signal(signal.SIGUSR1, lambda *_: asked.append(True))
    session = {"consumer.session.timeout.ms": int(session_ms)} if protocol == "classic" else {}
    app = apps.make_app(
        name, brokers, source, out, folder=folder, state=shared, group_protocol=protocol, commit_every="200ms",
        on_error="dead_letter", dead_letters=f"{out}-dead", settings=session,
    )  # fmt: skip
    print(app.run(), flush=True)


if __name__ == "__main__":
    main()
