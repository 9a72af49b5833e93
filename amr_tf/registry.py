"""Registries of the objects that flags select by name, and call strings with parameters.

A call string is a name, optionally with parameters in Python's syntax: `mixup`,
`gaussian(sigma=0.3)`, `celeba(attributes=('Male', 'Smiling'), crop=140)`. Values are literals or
nested calls, as in `adam(learning_rate=cosine_decay(...))`. Nothing is evaluated.
"""

import ast
import difflib
import inspect
import math
import warnings
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple, TypeVar

import keras

_Entry = TypeVar("_Entry", bound=Callable)
_LONGEST = 10_000
# From these classes on, constructors only take general Keras arguments (name, dtype, trainable).
_KERAS_BASES = (object, keras.layers.Layer, keras.Model)
_KEYWORDS = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


def unknown_name(kind: str, name: Any, known: Iterable[str]) -> ValueError:
    """Returns the error for an unknown `name`, which suggests the closest of the `known` names.

    Returns:
        A `ValueError`, for the caller to raise.
    """
    known = sorted(known)
    nearest = difflib.get_close_matches(str(name).lower(), known, n=1, cutoff=0.4)
    hint = f" Did you mean '{nearest[0]}'?" if nearest else ""
    # repr escapes line breaks, so that the message stays on one line.
    allowed = f"Allowed: {', '.join(known)}." if known else "It takes none."
    return ValueError(f"Unknown {kind} {str(name)!r}.{hint} {allowed}")


class Call(NamedTuple):
    """A parsed call string.

    Attributes:
        name: the name of the entry that is called.
        arguments: a dictionary from parameters to values. Nested calls are kept as strings.
    """

    name: str
    arguments: dict[str, Any]

    def __str__(self) -> str:
        if not self.arguments:
            return self.name
        given = ", ".join(f"{name}={value!r}" for name, value in self.arguments.items())
        return f"{self.name}({given})"


def parse_call(text: str, kind: str = "call") -> Call:
    """Splits a call string into its name and its arguments.

    Args:
        text: the call string.
        kind: the kind of object called, for error messages ("mixer").

    Raises:
        ValueError: the text is malformed, or a value is neither a literal nor a call.

    Example:

    >>> parse_call("gaussian(sigma=0.3)")
    Call(name='gaussian', arguments={'sigma': 0.3})
    """
    if not isinstance(text, str):
        raise ValueError(f"{kind} must be a name or a call such as name(size=2); got {text!r}.")
    name, bracket, _ = text.partition("(")
    name = name.strip()
    if not bracket:
        return Call(name, {})
    wrong = f"{kind} {text[:80]!r} cannot be read"
    if len(text) > _LONGEST:
        raise ValueError(f"{wrong}: it has more than {_LONGEST:,} characters.")
    try:
        with warnings.catch_warnings():  # Python's parser warns about texts such as "1is 2".
            warnings.simplefilter("ignore")
            node = ast.parse("f" + text.strip()[text.strip().index("(") :], mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        node = None
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name) or node.func.id != "f":
        raise ValueError(f"{wrong}: write NAME(parameter=value, ...), with texts in quotes.")
    return Call(name, _arguments(node, wrong))


def _arguments(node: ast.Call, wrong: str) -> dict[str, Any]:
    if node.args or any(keyword.arg is None for keyword in node.keywords):
        raise ValueError(f"{wrong}: every value needs its parameter's name, parameter=value.")
    arguments: dict[str, Any] = {}
    for keyword in node.keywords:
        if keyword.arg in arguments:
            raise ValueError(f"{wrong}: it gives {keyword.arg} twice.")
        arguments[str(keyword.arg)] = _value(keyword.value, f"{wrong}: {keyword.arg}")
    return arguments


def _value(node: ast.expr, wrong: str) -> Any:
    if isinstance(node, (ast.Tuple, ast.List)):
        return tuple(_value(element, wrong) for element in node.elts)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        return str(Call(node.func.id, _arguments(node, wrong)))
    try:
        value = ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
        value = node
    if not is_literal(value):
        hint = f": {node.id!r}" if isinstance(node, ast.Name) else ""
        raise ValueError(
            f"{wrong} must be a finite number, True, False, None, a text in quotes{hint}, "
            "or a tuple of these."
        )
    return value


def split_calls(text: str, kind: str = "calls") -> list[str]:
    """Splits a comma-separated text into call strings.

    Args:
        text: such as "tensorboard,mlflow(experiment='digits')".
        kind: the kind of objects called, for error messages.

    Raises:
        ValueError: the text is malformed.

    Example:

    >>> split_calls("one, two(size=2, name='a,b')")
    ['one', "two(size=2, name='a,b')"]
    """
    source = f"[{text}\n]"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            node = ast.parse(source, mode="eval").body if len(text) <= _LONGEST else None
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        node = None
    if not isinstance(node, ast.List):
        raise ValueError(
            f"{kind} {text[:80]!r} cannot be read: write names or calls, NAME(parameter=value), "
            "with commas between them."
        )
    return [ast.get_source_segment(source, element) or "" for element in node.elts]


def keyword_parameters(entry: Callable, method: str = "__init__") -> dict[str, inspect.Parameter]:
    """Returns the keyword parameters of a function or a class's method, including inherited ones.

    A method with `**kwargs` is assumed to pass these on to the base class.

    Args:
        entry: a function or a class.
        method: the method to inspect if `entry` is a class.
    """
    if not isinstance(entry, type):
        return _keywords(entry)
    found: dict[str, inspect.Parameter] = {}
    for owner in entry.__mro__:
        if owner in _KERAS_BASES:
            break
        function = owner.__dict__.get(method)
        if function is None:
            continue
        function = getattr(function, "__func__", function)  # Unwraps a class method.
        found |= {key: value for key, value in _keywords(function).items() if key not in found}
        kinds = [parameter.kind for parameter in inspect.signature(function).parameters.values()]
        if inspect.Parameter.VAR_KEYWORD not in kinds:
            break
    return {name: parameter for name, parameter in found.items() if name not in ("self", "cls")}


def _keywords(function: Callable) -> dict[str, inspect.Parameter]:
    parameters = inspect.signature(function).parameters
    return {name: value for name, value in parameters.items() if value.kind in _KEYWORDS}


def is_literal(value: Any) -> bool:
    """Returns whether a value can be written in a call string."""
    if isinstance(value, (tuple, list)):
        return all(map(is_literal, value))
    if isinstance(value, float):
        return math.isfinite(value)  # Python has no literals for the others.
    return value is None or isinstance(value, (bool, int, str))


class Registry:
    """Functions or classes by name, built from call strings.

    An entry's parameters and their defaults are read from its signature. Parameters that come from
    the run instead of the call string (a mixer's `k`, a network's image shape) form the registry's
    `context`.

    Args:
        kind: the kind of registered objects, for error messages ("mixer", "data set").
        context: dictionary from parameters that are passed to `build` to a description of their
            origin ("--k", "the data").
        skip: number of leading parameters of functions that are inputs (a loss's tensors).
        nested: registries for parameters whose values are call strings, or tuples of call strings,
            by parameter name.
        aliases: dictionary from other names to registered ones; `canonical` texts have the latter.

    Example:

    >>> mixers = Registry("mixer", context={"k": "--k"})
    >>> @mixers.register("mine")
    ... def make_mine(k, share=0.5):
    ...     return k, share
    >>> mixers.build("mine(share=0.25)", k=2)
    (2, 0.25)
    """

    def __init__(
        self,
        kind: str,
        context: Mapping[str, str] | None = None,
        skip: int = 0,
        nested: Mapping[str, "Registry"] | None = None,
        aliases: Mapping[str, str] | None = None,
    ) -> None:
        self.kind = kind
        self.context = dict(context or {})
        self.skip = skip
        self.nested = dict(nested or {})
        self.aliases = dict(aliases or {})
        self._entries: dict[str, Callable] = {}

    def register(self, name: str, replace: bool = False) -> Callable[[_Entry], _Entry]:
        """Returns a decorator that registers a function or class as `name`.

        Args:
            name: letters, digits, "_", "-" and "."; "none" is reserved.
            replace: whether to replace an entry with the same name.

        Raises:
            ValueError: the name is taken or cannot be used in a call string.
        """
        if not name.replace("-", "_").replace(".", "_").isidentifier() or name == "none":
            raise ValueError(f"A {self.kind} cannot be called {name!r}: use letters, digits and _.")

        def decorate(entry: _Entry) -> _Entry:
            if name in self._entries and not replace:
                raise ValueError(
                    f"A {self.kind} called '{name}' is registered already; choose another name, or "
                    "pass replace=True to take its place."
                )
            self._entries[name] = entry
            return entry

        return decorate

    def names(self) -> list[str]:
        """Returns the registered names, sorted."""
        return sorted(self._entries)

    def get(self, name: str) -> Any:
        """Returns the entry registered as `name`.

        Raises:
            ValueError: there is none; the message suggests the closest name.
        """
        if name not in self._entries:
            raise unknown_name(self.kind, name, self._entries)
        return self._entries[name]

    def parameters(self, name: str) -> dict[str, inspect.Parameter]:
        """Returns the parameters that a call string may set for the entry `name`, in order."""
        # The constructor of a class does not take the inputs.
        inputs = 0 if isinstance(self.get(name), type) else self.skip
        found = list(self._signature(name).items())[inputs:]
        return {key: value for key, value in found if key not in self.context}

    def takes(self, name: str, parameter: str) -> bool:
        """Returns whether the entry `name` has a parameter, including those of the context."""
        return parameter in self._signature(name)

    def _signature(self, name: str) -> dict[str, inspect.Parameter]:
        return keyword_parameters(self.get(name))

    def parse(self, call: str | Call) -> Call:
        """Parses a call string and checks it against the entry's signature.

        Args:
            call: a call string, or a `Call`, whose values need not be literals.

        Raises:
            ValueError: the text is malformed, the name is not registered, or a parameter is
                unknown, missing, part of the context, or of another type than its default.
        """
        name, arguments = call if isinstance(call, Call) else parse_call(call, self.kind)
        name = self.aliases.get(name, name)
        known = self.parameters(name)
        title = f"{self.kind} '{name}'"
        for key, value in arguments.items():
            if key not in known and key in self.context:
                raise ValueError(f"{key} of {title} is set by {self.context[key]}, not in a call.")
            if key not in known:
                raise unknown_name(f"parameter of {title}:", key, known)
            self.check_value(title, known[key], value)
        for key, parameter in known.items():
            if parameter.default is inspect.Parameter.empty and key not in arguments:
                raise ValueError(f"{title} needs its parameter {key}: {name}({key}=...).")
        return Call(name, arguments)

    def check_value(self, title: str, parameter: inspect.Parameter, value: Any) -> None:
        """Raises a ValueError unless a value has the type of the default (number, text, bool)."""
        default = parameter.default
        kinds: tuple[type, ...]
        if isinstance(default, bool):
            kinds, wanted = (bool,), "True or False"
        elif isinstance(default, (int, float)) and not isinstance(value, bool):
            kinds, wanted = (int, float), "a number"
        elif isinstance(default, (int, float)):
            kinds, wanted = (), "a number"
        elif isinstance(default, str):
            kinds, wanted = (str, type(None)), "a text in quotes"
        else:
            return
        if not isinstance(value, kinds):
            raise ValueError(
                f"{parameter.name} of {title} must be {wanted}, such as {default!r}; got {value!r}."
            )

    def canonical(self, text: str) -> str:
        """Writes out a call string's defaults, in the signature's order, also in nested calls.

        Equivalent texts become equal, and the text keeps its meaning if a default changes later.
        Defaults of None and False, which mean "not used", are left out.
        """
        name, arguments = self.parse(text)
        values = {**self._defaults(name), **arguments}
        known = self.parameters(name).items()
        given = {
            key: self._nested_value(key, values[key], "canonical")
            for key, parameter in known
            if key in values and not (_unused(values[key]) and values[key] is parameter.default)
        }
        return str(Call(name, given))

    def completed(self, text: str) -> str:
        """Adds to a text of `canonical` the parameters that did not exist when it was written.

        An entry's `older_defaults` holds the values with which it behaves as it did without them.
        """
        name, arguments = self.parse(text)
        older = getattr(self.get(name), "older_defaults", {})
        # A subclass inherits the attribute, but need not take the parameters.
        younger = {key: value for key, value in older.items() if key in self.parameters(name)}
        return str(Call(name, {**younger, **arguments})) if younger else text

    def _nested_value(self, key: str, value: Any, form: str) -> Any:
        """Converts the calls in a parameter's value to a form, "canonical" or "short"."""
        registry = self.nested.get(key)
        if registry is None:
            return value
        if isinstance(value, (tuple, list)):
            return tuple(self._nested_value(key, each, form) for each in value)
        return getattr(registry, form)(value) if isinstance(value, str) else value

    def short(self, text: str) -> str:
        """Shortens a call string for display by omitting parameters with default values."""
        name, arguments = self.parse(text)
        defaults = self._defaults(name)
        given = {
            key: self._nested_value(key, value, "short")
            for key, value in arguments.items()
            if key not in defaults or value != defaults[key]
        }
        return str(Call(name, given))

    def describe(self, name: str) -> str:
        """Returns the entry as a call string with its defaults, for help texts.

        A parameter without a default is shown as `name=...`.
        """
        parts = []
        for key, parameter in self.parameters(name).items():
            if parameter.default is inspect.Parameter.empty:
                parts.append(f"{key}=...")
            elif is_literal(parameter.default):
                parts.append(f"{key}={parameter.default!r}")
        return f"{name}({', '.join(parts)})" if parts else name

    def _defaults(self, name: str) -> dict[str, Any]:
        defaults = {key: value.default for key, value in self.parameters(name).items()}
        return {
            key: value
            for key, value in defaults.items()
            if is_literal(value) and not _unused(value)
        }

    def build(self, call: str | Call, /, **context: Any) -> Any:
        """Calls the entry named by a call string.

        Args:
            call: a call string or `Call`, see `parse`.
            **context: values of the registry's context. Those that the entry does not take are
                ignored.

        Raises:
            ValueError: raised by `parse` or by the entry.
        """
        name, arguments = self.parse(call)
        takes = self._signature(name)
        given = {key: value for key, value in context.items() if key in takes}
        return self.get(name)(**given, **arguments)


def _unused(value: Any) -> bool:
    return value is None or value is False
