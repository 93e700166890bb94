"""A command line that several processes run at once, each as a rank of one process group."""

import json as json_text
import os
import socket
import subprocess
import sys
import time
from collections.abc import Sequence

from zoo.cli.output import print_json, say
from zoo.errors import UsageError

MOST = 16
"""Processes that one machine is asked for."""

_PATIENCE = 2.0
"""Seconds in which the first process may say itself what is wrong, after another one has failed."""


def run_in_processes(count: int, arguments: Sequence[str], *, json: bool) -> int:
    """Run a command line in so many processes; returns the exit code of the first one that fails, or 0.

    What the first of them prints is printed.

    Args:
        count: how many.
        arguments: of ``zoo``.
        json: the first one prints one JSON value, which is handed on as such.

    Raises:
        UsageError: fewer than two, or more than a machine should have.
    """
    if not 2 <= count <= MOST:
        raise UsageError(f"`ranks`={count} should be from 2 to {MOST}")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1])}
    shared |= {"WORLD_SIZE": str(count), "LOCAL_WORLD_SIZE": str(count), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "zoo", *arguments]
    # whoever promises JSON on stdout has stdout go elsewhere while it works
    printed = subprocess.PIPE if json else None
    processes = [
        subprocess.Popen(
            command,
            env=os.environ | shared | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=printed if rank == 0 else subprocess.DEVNULL,  # the others would say the same
            stderr=None if rank == 0 else subprocess.DEVNULL,
        )
        for rank in range(count)
    ]
    try:
        code = _wait(processes)
        if text := processes[0].stdout.read() if processes[0].stdout else b"":
            print_json(json_text.loads(text))
        return code
    finally:
        for process in processes:
            process.kill()
            process.wait()
            if process.stdout:
                process.stdout.close()


def _wait(processes: Sequence["subprocess.Popen[bytes]"]) -> int:
    """Wait until all have ended or one has failed, for which the others would wait forever."""
    while True:
        codes = [process.poll() for process in processes]
        for rank, code in enumerate(codes):
            if code:
                if processes[0].poll() is None:
                    time.sleep(_PATIENCE)
                if processes[0].poll() is None:
                    say(f"process {rank} ended with exit code {code}, and process 0 waits for it", label="error:")
                return max(code, 1)
        if None not in codes:
            return 0
        time.sleep(0.05)
