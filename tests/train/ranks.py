"""Several processes that train one model, forked: as torchrun starts them, without importing torch again."""

import os
import signal
import socket
import time
import traceback
from pathlib import Path

from zoo.train.engine.process_group import joined


def fork(count, work, *, keep_quiet=False):
    """Start so many processes, each of which calls ``work(ranks)``; returns their process ids."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    processes = []
    for rank in range(count):
        process = os.fork()
        if process:
            processes.append(process)
            continue
        os.environ |= {
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(port),
            "WORLD_SIZE": str(count),
            "LOCAL_WORLD_SIZE": str(count),
            "RANK": str(rank),
            "LOCAL_RANK": str(rank),
        }
        code = 1
        try:
            with joined() as ranks:
                work(ranks)
            code = 0
        except BaseException as error:
            code = getattr(error, "exit_code", 1)
            if not keep_quiet:
                traceback.print_exc()
        finally:
            os._exit(code)
    return processes


def wait(processes):
    """The exit codes of processes, negative where a signal ended them."""
    return [os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) for process in processes]


def kill(processes, victim, *, patience=3.0):
    """Kill one, and after a while those that still wait for it, as torchrun does; returns all exit codes."""
    os.kill(victim, signal.SIGKILL)
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline and any(_is_running(process) for process in processes):
        time.sleep(0.01)
    for process in filter(_is_running, processes):
        os.kill(process, signal.SIGKILL)
    return wait(processes)


def _is_running(process):
    return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"


def run(count, work, *, keep_quiet=False):
    """Start processes and wait for them; returns their exit codes."""
    return wait(fork(count, work, keep_quiet=keep_quiet))
