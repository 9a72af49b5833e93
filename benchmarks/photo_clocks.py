"""Clocks for the minutes of `photos.py`."""

import os
import time

THREADS = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def processor_time() -> float:
    """Returns this process's processor time, divided by the number of threads of the machine."""
    return time.process_time() / THREADS


CLOCKS = {"wall": time.time, "cpu": processor_time}
