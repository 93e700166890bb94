"""What SLURM's programs do, on this machine: `install` puts them into a folder, from which they go by their names.

The state of a job is in a file with its number, which is there for as long as the job is in the queue. Jobs wait while
there is a file ``held``, and are not taken at all while there is a file ``refused``.
"""

import os
import re
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

NAMES = ("sbatch", "squeue", "scancel", "srun")
QUEUE = Path(os.environ.get("FAKE_SLURM", ""))


def install(folder, queue):
    """Make the programs; `queue` is an empty folder that they share by the variable FAKE_SLURM."""
    for path in (folder, queue):
        path.mkdir()
    for name in NAMES:
        program = folder / name
        program.write_text(f"#!{sys.executable}\n{Path(__file__).read_text()}")
        program.chmod(0o755)


def sbatch(script):
    if (QUEUE / "refused").exists():
        sys.exit("sbatch: error: invalid partition specified: nowhere\nsbatch: error: Batch job submission failed")
    for busy in (QUEUE / "busy").glob("*"):
        busy.unlink()
        sys.exit("sbatch: error: Batch job submission failed: Socket timed out on send/recv operation")
    job = str(100 + len(list(QUEUE.glob("*.sh"))))
    (QUEUE / f"{job}.sh").write_text(Path(script).read_text())
    (QUEUE / job).write_text("PD")
    quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    subprocess.Popen([sys.executable, __file__, "job", job], start_new_session=True, **quiet)
    print(f"Submitted batch job {job}")


def job(number):
    while (QUEUE / "held").exists():
        time.sleep(0.05)
    state, script = QUEUE / number, QUEUE / f"{number}.sh"
    if not state.exists():
        return
    streams = dict(re.findall(r"^#SBATCH --(output|error)=(\S+)", script.read_text(), re.MULTILINE))
    with (
        Path(streams["output"].replace("%j", number)).open("a") as out,
        Path(streams["error"].replace("%j", number)).open("a") as err,
    ):
        environment = {**os.environ, "SLURM_JOB_ID": number}
        process = subprocess.Popen(["bash", script], env=environment, stdout=out, stderr=err, start_new_session=True)
        state.write_text(f"R {process.pid}")
        process.wait()
    state.unlink(missing_ok=True)


def states(jobs):
    for number in jobs:
        with suppress(FileNotFoundError):
            yield number, (QUEUE / number).read_text().split()


def squeue(*arguments):
    found = dict(states(arguments[-1].split(",")))
    if not found and "," not in arguments[-1]:
        sys.exit("slurm_load_jobs error: Invalid job id specified")
    for number, state in found.items():
        print(number, state[0])


def scancel(*arguments):
    for number, state in list(states(arguments)):
        if state[0] == "PD":
            (QUEUE / number).unlink()
        elif "PENDING" not in arguments:
            os.killpg(int(state[1]), signal.SIGKILL)


if __name__ == "__main__":
    name = Path(sys.argv[0]).name
    called = sys.argv[1:]
    if called and called[0] == "job":
        name, called = "job", called[1:]
    {"sbatch": sbatch, "squeue": squeue, "scancel": scancel, "srun": print, "job": job}[name](*called)
