"""What an executor is and promises: it makes the runs of a comparison, here or on other machines."""

import concurrent.futures


class Executor(concurrent.futures.Executor):
    """Makes calls in other processes: of this machine, of a cluster, or of a batch system.

    It is an executor as `concurrent.futures` has them, of which the zoo uses ``submit``, ``shutdown`` and the futures.
    Its options are the keyword parameters of its ``__init__``, with annotations and defaults, as those of a mixer are;
    one that is called ``address`` can be written as ``--on NAME:ADDRESS``. Where ``__init__`` has a parameter ``jobs``,
    the zoo fills in how many calls it will hand over at a time.

    * ``__init__`` starts nothing. Processes, connections and allocations are taken with the first call.
    * The future of a call whose process or machine is gone fails, with whatever exception says why. The zoo hands the
      call in again. A future that never ends would hold up the comparison for good.
    * ``Future.cancel`` returns False once the call has begun.
    * After the loss of a process, further calls are made.
    """

    local: bool = True
    """Whether all calls are made on this machine, so that its cores are shared and its devices are meant. Elsewhere
    each run settles the device, the precision and the threads for itself, and needs a file system that is shared."""

    def terminate(self) -> None:
        """End the calls that are being made, at once, as far as that can be done. What they have saved stays."""
        self.shutdown(wait=False, cancel_futures=True)
