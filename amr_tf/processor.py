"""What the operating system reports about the processor."""

import pathlib

CPUINFO = pathlib.Path("/proc/cpuinfo")


def facts() -> dict[str, str]:
    """The facts of the first processor in /proc/cpuinfo; an empty dictionary elsewhere."""
    try:
        first = CPUINFO.read_text(encoding="utf-8", errors="replace").partition("\n\n")[0]
    except OSError:
        return {}
    pairs = (line.partition(":") for line in first.splitlines())
    return {name.strip(): value.strip() for name, _, value in pairs}


def has_any(*flags: str) -> bool:
    """Whether the processor has one of some instruction sets, as /proc/cpuinfo names them."""
    return not set(facts().get("flags", "").split()).isdisjoint(flags)
