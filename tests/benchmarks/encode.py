"""Encode a large synthetic ``.jsonl``, interrupt it half-way, and report speed and memory.

    python tests/benchmarks/encode.py --gigabytes 2

Linux only: memory is the sum of the resident sets of all processes, from /proc, about ten times a second; pages of
mapped files that they share are counted once a process.
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

WORDS = 20_000
CHUNK = 2**25
PAGE = os.sysconf("SC_PAGESIZE")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gigabytes", type=float, default=2.0)
    parser.add_argument("--tokenizer", default="byte")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--folder", type=Path, help="where there is room for twice the data and more")
    given = parser.parse_args()
    with TemporaryDirectory(dir=given.folder) as folder:
        path = Path(folder) / "large.jsonl"
        size = write_documents(path, int(given.gigabytes * 1e9))
        print(f"{size:,} bytes")
        reference = None
        for threads in given.threads:
            seconds, cpu, peak, index = encode(path, Path(folder) / f"cache-{threads}", given.tokenizer, threads)
            speed = size / seconds / 1e6
            per_core = size / cpu / 1e6
            print(
                f"threads={threads}: {seconds:.1f} s, {speed:.1f} MB/s, {per_core:.1f} MB/s of CPU time, {peak:,} bytes"
            )
            assert reference in (None, index), "other shards with another number of processes"
            reference = index
        cache = Path(folder) / "cache-killed"
        encode(path, cache, given.tokenizer, given.threads[-1], kill_after=seconds / 2)
        journals = list(cache.glob("shards/*.partial/journal.jsonl"))
        written = sum(journal.read_bytes().count(b"\n") for journal in journals)
        seconds, _, peak, index = encode(path, cache, given.tokenizer, given.threads[-1])
        print(f"killed with {written} shards; after that {seconds:.1f} s, {peak:,} bytes")
        print(f"the same shards: {index == reference}")


def write_documents(path: Path, size: int) -> int:
    """Write documents of 1 to 600 words until the file has so many bytes."""
    drawn = random.Random(0)
    letters = "etaoinshrdlcumwfgypbvkjxqz"
    words = ["".join(drawn.choices(letters, k=drawn.randint(1, 10))) for _ in range(WORDS)]
    lines: list[str] = []
    length = 0
    while length < CHUNK:
        text = " ".join(drawn.choices(words, k=drawn.randint(1, 600)))
        lines.append(json.dumps({"id": len(lines), "text": f'{text}.\n"{text[:40]}", é€.'}, ensure_ascii=False) + "\n")
        length += len(lines[-1])
    with path.open("wb") as file:
        number = 0
        while file.tell() < size:  # each time with another number, so that no document comes twice
            file.write("".join(lines).replace('"text": "', f'"text": "{number} ').encode())
            number += 1
    return path.stat().st_size


def encode(
    path: Path, cache: Path, tokenizer: str, threads: int, kill_after: float | None = None
) -> tuple[float, float, int, object]:
    """Seconds, seconds of CPU time, the most bytes of memory, and the splits of the index."""
    command = [sys.executable, "-c", "from zoo.cli.main import main; main()", "data", str(path), "--json"]
    command += ["--tokenizer", tokenizer, "--set", f"threads={threads}"]
    before, began = os.times(), time.perf_counter()
    process = subprocess.Popen(command, env=os.environ | {"ZOO_CACHE": str(cache)}, stdout=subprocess.PIPE)
    peak = 0
    while process.poll() is None:
        peak = max(peak, memory_of(process.pid))
        if kill_after is not None and time.perf_counter() - began > kill_after:
            process.send_signal(signal.SIGKILL)
        time.sleep(0.1)
    seconds, after = time.perf_counter() - began, os.times()
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    index = next(iter(cache.glob("shards/*/index.json")), None)
    splits = json.loads(index.read_bytes()) if index else {}
    return seconds, cpu, peak, {name: splits.get(name) for name in ("sha256", "train", "validation")}


def memory_of(pid: int) -> int:
    """Bytes of the resident sets of a process and its descendants."""
    total = 0
    try:
        total += int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE
        for task in Path(f"/proc/{pid}/task").iterdir():
            total += sum(memory_of(int(child)) for child in (task / "children").read_text().split())
    except (OSError, ValueError, IndexError):  # it has just ended
        pass
    return total


if __name__ == "__main__":
    main()
