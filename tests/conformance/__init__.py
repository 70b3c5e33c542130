"""The conformance runner: corpora of Flink's own results against the engine or the oracle."""
