"""Processes that encode blocks, and hand them back in their order."""

import os
import pickle
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

from zoo.data.shards.block import Block
from zoo.data.shards.serve import as_sent
from zoo.data.shards.worker import EncodedBlock, Job, encode_block
from zoo.data.tokenize import tokenizer_as_json
from zoo.errors import ZooError
from zoo.tokenizer import Tokenizer

MAX_PROCESSES = 8
"""More would not stay within a gibibyte."""

_IN_FLIGHT = 2**24
"""Bytes of blocks that may wait or be encoded at once, beside one for each process."""


class EncodingPool:
    """Encodes blocks, in processes of its own or, for one, in this one.

    The processes are started anew rather than forked, and know nothing of the main module: a script that loads data
    needs no guard around its own work. They end when this process does, whatever ends it.

    Args:
        count: of processes.
        tokenizer: encodes.
        job: what else holds for all blocks.
    """

    def __init__(self, count: int, tokenizer: Tokenizer, job: Job) -> None:
        self._count, self._tokenizer, self._job = count, tokenizer, job
        self._local = threading.local()
        self._started: list[subprocess.Popen[bytes]] = []

    def encoded(self, blocks: Iterable[Block]) -> Iterator[tuple[Block, EncodedBlock]]:
        """Each block with what it was encoded to, in the order in which they come.

        Raises:
            ZooError: of the first block that cannot be encoded.
        """
        if self._count <= 1:
            for block in blocks:
                yield block, encode_block(block, self._tokenizer, self._job)
            return
        with self._threads() as threads:
            waiting: deque[tuple[Block, Future[EncodedBlock]]] = deque()
            size = 0
            for block in blocks:
                waiting.append((block, threads.submit(self._ask, block)))
                size += len(block.payload)
                while len(waiting) > self._count and (size > _IN_FLIGHT or waiting[0][1].done()):
                    first, future = waiting.popleft()
                    size -= len(first.payload)
                    yield first, future.result()
            while waiting:
                first, future = waiting.popleft()
                yield first, future.result()

    @contextmanager
    def _threads(self) -> Iterator[ThreadPoolExecutor]:
        """A thread for each process, which it starts when it is first used."""
        threads = ThreadPoolExecutor(self._count, thread_name_prefix="encoding")
        try:
            yield threads
        finally:
            for process in self._started:
                process.kill()
            threads.shutdown(wait=True, cancel_futures=True)
            for process in self._started:
                for pipe in (process.stdin, process.stdout):
                    if pipe is not None:
                        _close(pipe)
                process.wait()

    def _ask(self, block: Block) -> EncodedBlock:
        process = getattr(self._local, "process", None) or self._start()
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            _send(process, block)
            reply = pickle.load(process.stdout)
        except (OSError, EOFError, pickle.UnpicklingError):
            raise ZooError(
                f"a process that encodes {block.name} has ended (exit code {process.wait()}), perhaps for lack of "
                "memory: the next start goes on where this one stopped"
            ) from None
        if isinstance(reply, ZooError):
            raise reply
        assert isinstance(reply, EncodedBlock)
        return reply

    def _start(self) -> subprocess.Popen[bytes]:
        path = os.pathsep.join(filter(None, sys.path))
        environment = os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "zoo.data.shards.serve"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            start_new_session=True,  # Ctrl-C is for this process alone, which ends the others
        )
        self._started.append(process)
        self._local.process = process
        _send(process, (as_sent(self._tokenizer, tokenizer_as_json(self._tokenizer)), self._job))
        return process


def _send(process: subprocess.Popen[bytes], value: object) -> None:
    assert process.stdin is not None
    pickle.dump(value, process.stdin, protocol=pickle.HIGHEST_PROTOCOL)
    process.stdin.flush()


def _close(pipe: object) -> None:
    try:
        pipe.close()  # type: ignore[attr-defined]
    except OSError:  # what was not sent any more
        return
