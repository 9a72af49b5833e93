"""What the minutes of `photos.py` are."""

import os
import time

THREADS = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def processor_time() -> float:
    """Seconds in which all threads of this machine have worked for this process."""
    return time.process_time() / THREADS


CLOCKS = {"wall": time.time, "cpu": processor_time}
