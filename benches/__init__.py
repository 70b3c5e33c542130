"""Benchmarks of fyke: workloads, hand-written limits, peers, and one command for all (`python -m benches`)."""
