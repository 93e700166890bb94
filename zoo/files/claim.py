"""A claim: one writer at a time, among processes of several machines that share a file system."""

import json
import os
import platform
import secrets
import threading
import time
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

from zoo.errors import ZooError
from zoo.files.atomic import writing

INTERVAL = 1.0
"""Seconds between two signs of life."""

PATIENCE = 30.0
"""Seconds without one after which the holder of a claim counts as dead. Network file systems show some late."""

_SIZE = 512
"""Bytes of the file: always as many, so that one write replaces all of it."""


class LostClaimError(ZooError):
    """Another process has taken the claim, since this one gave no sign of life for long. It must not write any more."""


class Claim:
    """The right to write somewhere, which a file stands for that only one process can have made.

    Locks of the system are not to be trusted on network file systems, and say nothing of other machines. The holder
    writes into the file once a second; who finds that it has stopped doing so takes over. Clocks of machines are never
    compared: age is that of the file, as its file system tells it, or what the one who waits has seen pass. Of a
    process of its own machine it knows at once that it is gone.

    Args:
        path: of the file; its folder is there.
        interval: seconds between two signs of life.
        patience: seconds without one after which a holder counts as dead.
    """

    def __init__(self, path: Path, *, interval: float = INTERVAL, patience: float = PATIENCE) -> None:
        self._path, self._interval, self._patience = path, interval, patience
        self._token = secrets.token_hex(8)
        self._facts: dict[str, Any] = {"token": self._token, "host": platform.node(), "process": _this_process()}
        self._lock, self._released = threading.Lock(), threading.Event()
        self._file: int | None = None
        self._lost, self._looked = False, 0.0
        self._seen: tuple[Any, float] = (None, 0.0)

    def take(self) -> bool:
        """Try once to get the claim: if nobody has it, or whoever has it is dead. Whether this one holds it now.

        Raises:
            ZooError: the disk is full, or the place is not writable.
        """
        if self._file is not None:
            return True
        with writing(self._path):
            try:
                self._file = os.open(self._path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o666)
            except FileExistsError:
                self._remove_if_abandoned()
                return False
            self._released.clear()
            self._lost = False
            try:
                os.write(self._file, self._content())
            except OSError:
                self.release()
                self._path.unlink(missing_ok=True)
                raise
        threading.Thread(target=self._show_life, daemon=True).start()
        return True

    def tell(self, **facts: Any) -> None:
        """Have the file say something, with the next sign of life."""
        self._facts |= facts

    def check(self) -> None:
        """Call this before anything is written; it looks into the file once in an `interval` at most.

        Raises:
            LostClaimError: another process has the claim.
        """
        if time.monotonic() - self._looked >= self._interval:
            self._beat()
        if self._lost:
            raise LostClaimError(f"another process has taken over what {self._path} stands for")

    def release(self) -> None:
        """Give the claim back, if it is held."""
        self._released.set()
        with self._lock:
            file, self._file = self._file, None
            if file is None:
                return
            os.close(file)
            if not self._lost and _read(self._path).get("token") == self._token:
                self._path.unlink(missing_ok=True)

    def __enter__(self) -> "Claim":
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def _content(self) -> bytes:
        return json.dumps(self._facts).encode().ljust(_SIZE - 1) + b"\n"

    def _show_life(self) -> None:
        while not self._released.wait(self._interval) and not self._lost:
            self._beat()

    def _beat(self) -> None:
        """Find out whether the claim is still held, and if so write into it.

        The write goes to the file that this process has made, wherever it lies: it cannot hit that of another.
        """
        with self._lock:
            if self._file is None:
                return
            self._looked = time.monotonic()
            holder = _read(self._path)
            if holder.get("token", self._token) != self._token or not self._path.exists():
                self._lost = True
                return
            with suppress(OSError):  # what cannot be written is no sign of life, and others see that
                os.lseek(self._file, 0, os.SEEK_SET)
                os.write(self._file, self._content())

    def _remove_if_abandoned(self) -> None:
        """Take the file of a dead holder away. Of several that do, one moves it, and the others find it gone."""
        holder = _read(self._path)
        if not self._is_abandoned(holder):
            return
        moved = self._path.with_name(f"{self._path.name}.{self._token}")
        try:
            self._path.rename(moved)
        except FileNotFoundError:
            return
        if _read(moved).get("token") != holder.get("token"):
            with suppress(OSError):  # another one was quicker, and this file is its claim: it gets it back
                os.link(moved, self._path)
        moved.unlink(missing_ok=True)

    def _is_abandoned(self, holder: dict[str, Any]) -> bool:
        mine, its = self._facts["process"], holder.get("process")
        if mine and its and mine[:-2] == its[:-2]:
            return _started(its[-2]) != its[-1]
        try:
            modified = self._path.stat().st_mtime_ns
        except FileNotFoundError:
            return False
        sign = (holder.get("token"), modified)
        if sign != self._seen[0]:
            self._seen = (sign, time.monotonic())
        waited = time.monotonic() - self._seen[1]
        return waited > self._patience or (self._now() - modified) / 1e9 > self._patience

    def _now(self) -> int:
        """The time that the file system would write on a file now, in nanoseconds."""
        probe = self._path.with_name(f"{self._path.name}.{self._token}")
        probe.write_bytes(b"")
        now = probe.stat().st_mtime_ns
        probe.unlink()
        return now


def read_claim(path: Path) -> dict[str, Any]:
    """What the holder of a claim tells; empty if nobody holds it."""
    return _read(path)


def _read(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:  # opening is what makes a network file system look
            facts = json.loads(file.read(_SIZE))
    except (OSError, ValueError):
        return {}
    return facts if isinstance(facts, dict) else {}


@cache
def _machine() -> list[str]:
    """What tells this running system, and its numbering of processes, from every other; empty where nothing does."""
    try:
        return [Path("/proc/sys/kernel/random/boot_id").read_text().strip(), str(Path("/proc/self/ns/pid").readlink())]
    except OSError:
        return []


def _this_process() -> list[Any]:
    """The machine, the number of this process, and when it was started; empty where that is not known."""
    machine, number = _machine(), os.getpid()
    return [*machine, number, _started(number)] if machine else []


def _started(process: Any) -> str | None:
    """When a process of this machine was started, in ticks since the system was; None if there is none."""
    try:
        fields = Path(f"/proc/{int(process)}/stat").read_text().rpartition(")")[2].split()
    except (OSError, ValueError):
        return None
    return None if fields[0] == "Z" else fields[19]
