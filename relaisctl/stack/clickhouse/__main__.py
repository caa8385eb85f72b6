"""``python -m relaisctl.stack.clickhouse --port 9000 --data DIR``: a ClickHouse for one machine.

Prints one line when it listens. SIGTERM or SIGINT: stops its queries, closes the database, exit 0.
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
from pathlib import Path

from relaisctl.stack.clickhouse.engine import Engine, EngineError
from relaisctl.stack.clickhouse.server import Server


def main() -> int:
    parser = argparse.ArgumentParser(prog="relaisctl.stack.clickhouse", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=9000, help="0 takes a free one")
    parser.add_argument("--data", type=Path, required=True, help="folder of the database")
    parser.add_argument("--password", default="", help="of the user default")
    parser.add_argument("--verbose", action="store_true", help="log every query")
    options = parser.parse_args()
    logging.basicConfig(
        level=logging.DEBUG if options.verbose else logging.INFO,
        format="%(asctime)s %(levelname)s %(message)s",
    )
    try:
        engine = Engine(options.data)
        server = Server(engine, options.host, options.port, options.password)
    except (EngineError, OSError, ValueError) as error:
        print(f"cannot start: {error}", file=sys.stderr, flush=True)
        os._exit(1)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: server.stop())
    host, port = server.address
    print(
        f"ClickHouse (chDB {'.'.join(map(str, engine.version))}) listens on {host}:{port}",
        flush=True,
    )
    server.run()
    engine.close()
    sys.stdout.flush()
    logging.shutdown()
    # The engine's own threads have nothing left to write; do not wait for the interpreter's end.
    os._exit(0)


if __name__ == "__main__":
    sys.exit(main())
