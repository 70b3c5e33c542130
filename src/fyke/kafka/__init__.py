"""Reading from and writing to Kafka, in transactions: what the runtime of an application is built on.

| module | what it is |
|---|---|
| `settings` | the settings of the clients, and which of them are not the user's to make |
| `failures` | what an error asks for: the same call again, an abort, a new client, the end |
| `consumer` | `Reader`: batches of records per partition, changes of the group, gaps |
| `producer` | `Producer`: records written at least once |
| `transaction` | `TransactionalProducer`: records and offsets in one commit |
| `formats` | what the bytes of a record mean: `Format`, `Raw`, `Call` |
| `json_format` | `Json`: objects to columns by the compiled decoder |
| `convert` | values to columns of a type, bad ones found one by one |
| `records` | `RecordReader`: rows with event times and origins; poison records and tombstones apart |
| `offsets` | `Committed`: the string beside a committed offset, which names a checkpoint |
| `identity` | `Instance`: who this instance is, and its transactional ids |
"""
