"""A simulation of many instances on Kafka: what failures and rebalances cost (`python -m benches.scaling`)."""
