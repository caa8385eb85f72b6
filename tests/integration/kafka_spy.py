"""`python kafka_spy.py OUT MODULE ARGUMENT...`: run a module as __main__, and write down in the
file OUT each topic that it sends a produce or fetch request for: "writes TOPIC", "reads TOPIC".

Every client of ours (producers, consumers, Faust) ends in these two requests of aiokafka.
"""

import runpy
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from aiokafka.protocol.fetch import FetchRequest
from aiokafka.protocol.produce import ProduceRequest


def main() -> None:
    _, out, module, *arguments = sys.argv
    seen: set[str] = set()

    def tell(line: str) -> None:
        if line not in seen:
            seen.add(line)
            with Path(out).open("a", encoding="utf-8") as file:
                file.write(line + "\n")

    watch(ProduceRequest, "writes", tell)
    watch(FetchRequest, "reads", tell)
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


def watch(request: type[Any], verb: str, tell: Callable[[str], None]) -> None:
    build = request.build

    def told(self: Any, version: type[Any]) -> Any:
        for topic, _ in self._topics:
            tell(f"{verb} {topic}")
        return build(self, version)

    request.build = told


if __name__ == "__main__":
    main()
