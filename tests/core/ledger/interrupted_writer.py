"""
A process that writes to a ledger and is interrupted by signals at random moments, as by ``execution_timeout``.

After each one it writes a line, keeps the exception, and reads a line. Arguments: the ledger's URL, the seed, and the
number of signals; its key is the first line of standard input.
"""

from __future__ import annotations

import random
import signal
import sys
from types import FrameType

from airflow_provider_outbound.core.ledger import Ledger, open_ledger


class Timeout(BaseException):
    """As AirflowTaskTimeout, which is no ``Exception`` either."""


def interrupt(_number: int, _frame: FrameType | None) -> None:
    raise Timeout


def write_until_interrupted(ledger: Ledger, delay: float) -> Timeout:
    try:
        signal.setitimer(signal.ITIMER_REAL, delay)
        while True:
            with ledger.write() as connection:
                ledger.take_sequence(connection, 1)
    except Timeout as timeout:
        # With its traceback, which refers to everything that was used where it was raised.
        return timeout


def main(url: str, seed: str, count: str) -> None:
    key = sys.stdin.readline().strip()
    signal.signal(signal.SIGALRM, interrupt)
    random_moments = random.Random(int(seed))
    with open_ledger(url, [key]) as ledger:
        write_until_interrupted(ledger, 0.5)  # loads everything
        for _ in range(int(count)):
            timeout = write_until_interrupted(ledger, random_moments.uniform(0.0001, 0.01))
            print("interrupted", flush=True)
            sys.stdin.readline()
            del timeout
            # This process can write again, too.
            with ledger.write() as connection:
                ledger.take_sequence(connection, 1)
    print("done", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
