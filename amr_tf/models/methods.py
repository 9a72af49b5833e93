"""The registry of methods that `--method` selects from, and their settings."""

import inspect
from typing import Any

from amr_tf.mixers import MIXERS
from amr_tf.models.base import ResynthesisModel
from amr_tf.registry import Call, Registry, keyword_parameters


class _Methods(Registry):
    """A registry of methods. Call strings set the arguments that a method adds to the base's."""

    def parameters(self, name: str) -> dict[str, inspect.Parameter]:
        """Returns the parameters that the method adds to those of every method."""
        left_out = {*_of_both(ResynthesisModel), *self.get(name).unused_settings}
        return {key: value for key, value in self._signature(name).items() if key not in left_out}

    def _signature(self, name: str) -> dict[str, inspect.Parameter]:
        return _of_both(self.get(name))

    def build(self, call: str | Call, /, **context: Any) -> Any:
        """Raises a TypeError, since methods are created and compiled separately (see `split`)."""
        raise TypeError("A method is built by its create and compile.")

    def default_of(self, name: str, setting: str) -> Any:
        """Returns the default of an argument of a method's `create` or `compile`."""
        return self._signature(name)[setting].default

    def split(self, call: str | Call) -> tuple[Any, dict, dict]:
        """Returns the method's class, and the call's arguments of `create` and of `compile`."""
        name, arguments = self.parse(call)
        of_compile = settings(self.get(name), "compile")
        created = {key: value for key, value in arguments.items() if key not in of_compile}
        compiled = {key: value for key, value in arguments.items() if key in of_compile}
        return self.get(name), created, compiled


def settings(method: type, function: str) -> dict[str, inspect.Parameter]:
    """Returns the arguments of a method's `create` or `compile`, with the method's defaults."""
    return keyword_parameters(method, function)


def _of_both(method: type) -> dict[str, inspect.Parameter]:
    return {**settings(method, "create"), **settings(method, "compile")}


METHODS = _Methods(
    "method",
    context={"name": "--method", "image_shape": "the data"},
    nested={"label_mixer": MIXERS},
)
"""Classes by the names that `--method` takes."""
