"""Names for things that a flag selects: mixers, losses, data sets."""

import difflib


def unknown_name(kind, name, known):
    """The error for a `name` that is not among the `known`, with the nearest one that is.

    Returns:
        A `ValueError`, for the caller to raise.
    """
    known = sorted(known)
    nearest = difflib.get_close_matches(str(name).lower(), known, n=1, cutoff=0.4)
    hint = f" Did you mean '{nearest[0]}'?" if nearest else ""
    # As repr does it: a name may hold a line break, and the sentence is one line.
    return ValueError(f"Unknown {kind} {str(name)!r}.{hint} Allowed: {', '.join(known)}.")


class Registry:
    """A dictionary from names to functions or classes that answers a wrong name helpfully.

    Args:
        kind: what is registered, in words, for error messages ("mixer", "data set").

    Example:

    >>> mixers = Registry("mixer")
    >>> @mixers.register("mine")
    ... def make_mine(k):
    ...     return k
    >>> mixers.get("mine")(2)
    2
    """

    def __init__(self, kind):
        self.kind = kind
        self._entries = {}

    def register(self, name):
        """A decorator that registers what it decorates as `name`."""

        def decorate(entry):
            self._entries[name] = entry
            return entry

        return decorate

    def names(self):
        """The registered names, sorted."""
        return sorted(self._entries)

    def get(self, name):
        """What is registered as `name`.

        Raises:
            ValueError: nothing is; the message names the nearest name that is allowed.
        """
        if name not in self._entries:
            raise unknown_name(self.kind, name, self._entries)
        return self._entries[name]
