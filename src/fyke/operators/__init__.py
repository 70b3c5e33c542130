"""The operators of a stream graph while they run, one a file; each keeps the contract of fyke.operator.Operator."""
