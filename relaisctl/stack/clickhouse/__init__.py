"""ClickHouse for the local stack: chDB behind ClickHouse's native TCP protocol.

    python -m relaisctl.stack.clickhouse --port 9000 --data DIR

``protocol``  the packets, as pure functions over bytes: start reading here
``blocks``    how long each column of a block is, and the two dialects of a block
``engine``    chDB: sessions, settings per query, streaming reads and inserts, killing
``server``    connections: one thread each, one watcher for those that run a query
"""
