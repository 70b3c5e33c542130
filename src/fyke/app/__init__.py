"""Applications on Kafka: streams between topics, in a group of instances, exactly once or at least once.

| module | what it is |
|---|---|
| `application` | `App`: topics in, streams, topics out, run |
| `topics` | an input topic as a value: format, time, what becomes of poison records |
| `flow` | streams of an app, with `.to(topic)` |
| `outlets` | results to records, or to a function |
| `inbox` | committed rows for an asyncio loop: `App.matches` |
| `plan` | what an instance runs: parts of a graph, their topics, their outlets |
| `tables` | a compacted topic as the rows of a table |
| `parts` | the parts with what the brokers know: numbers of partitions, the app's own topics |
| `rekey` | rows by another key: written to a topic of the app's own |
| `merge` | and read from there, in the order of their times |
| `task` | partition p of all inputs: an engine, and up to where its records are in it |
| `backends` | where the states of tasks are kept: a folder, a shared store |
| `changelog` | the same in a compacted topic |
| `delivery` | the two guarantees: what committing and giving up mean |
| `doctor` | what is wrong, asked of the brokers: `App.examine`, `fyke doctor` |
| `monitor` | what an instance says of itself: a record that the loop leaves for other threads; a watchdog |
| `metrics` `endpoints` | the same by name, for Prometheus and OpenTelemetry; over HTTP, with health and readiness |
| `runtime` | the loop: read, process, commit; partitions that come and go; give up and go back |
"""

from fyke.app.application import App
from fyke.app.flow import Flow
from fyke.app.metrics import METRICS, collector, observe
from fyke.app.monitor import Status
from fyke.app.runtime import AppStatistics

__all__ = ["METRICS", "App", "AppStatistics", "Flow", "Status", "collector", "observe"]
