"""`python ahead.py FILE MODULE ARGUMENT...`: run a module as __main__ with a clock that is ahead by
as many seconds as FILE says at the moment; a walk need not wait for tomorrow's visit then."""

import runpy
import sys
from pathlib import Path

from eventkit.clock import SystemClock


def main() -> None:
    _, file, module, *arguments = sys.argv
    seconds = Path(file)
    now_us = SystemClock.now_us

    def ahead(self: SystemClock) -> int:
        return now_us(self) + int(seconds.read_text(encoding="utf-8")) * 1_000_000

    SystemClock.now_us = ahead  # type: ignore[method-assign]
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
