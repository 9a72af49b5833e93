"""What the operating system reports about the processor."""

import pathlib

CPUINFO = pathlib.Path("/proc/cpuinfo")


def facts() -> dict[str, str]:
    """Returns the first processor's entries in /proc/cpuinfo; an empty dictionary elsewhere."""
    try:
        first = CPUINFO.read_text(encoding="utf-8", errors="replace").partition("\n\n")[0]
    except OSError:
        return {}
    pairs = (line.partition(":") for line in first.splitlines())
    return {name.strip(): value.strip() for name, _, value in pairs}


def has_any(*flags: str) -> bool:
    """Returns whether the processor has any of the instruction sets named as in /proc/cpuinfo."""
    return not set(facts().get("flags", "").split()).isdisjoint(flags)
