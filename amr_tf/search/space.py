"""The flags and values of a search."""

import dataclasses
import inspect
import itertools
import math
import typing
from collections.abc import Iterable, Iterator
from typing import Any

import keras_tuner

from amr_tf.registry import parse_call, unknown_name
from amr_tf.runs.config import REGISTRIES, TrainingConfig, flag_name

# Fields that the search sets itself, or that only concern paths and output.
_FIXED = ("run_dir", "seed", "data_dir", "epochs", "verbose", "monitor")
_CHECKED = 500  # Combinations to check; each takes 20 ms.
_WORDS = {"true": True, "false": False, "none": None}
_BRACKETS = {"(": 1, "[": 1, ")": -1, "]": -1}
_QUOTES = ("'", '"')


@dataclasses.dataclass(frozen=True)
class SearchSpace:
    """Values to search, for fields of `TrainingConfig` or parameters of their call strings.

    Attributes:
        choices: dictionary from names ("k", "mixer.sigma") to tuples of values, in the order they
            are tried.
        ranges: dictionary from names to (low, high, scale), scale "linear" or "log".
    """

    choices: dict
    ranges: dict = dataclasses.field(default_factory=dict)

    @classmethod
    def parse(cls, texts: Iterable[str]) -> "SearchSpace":
        """Parses texts such as "lambda:2,5,10" or "mixer.sigma:0.1..1:log".

        Values of parameters are literals, as in call strings, but texts need no quotes. Commas
        inside brackets or quotes belong to a value.

        Raises:
            ValueError: a text is malformed, a flag is unknown or cannot be searched, or a value has
                the wrong type or is given twice.
        """
        choices: dict[str, tuple] = {}
        ranges: dict[str, tuple] = {}
        for text in texts:
            flag, colon, values = text.partition(":")
            if not colon or not values:
                raise ValueError(
                    f"search must be FLAG:VALUE,VALUE,... or FLAG:LOW..HIGH[:log]; got {text!r}."
                )
            name = _field_name(flag)
            if name in choices or name in ranges:
                raise ValueError(f"search names {flag} twice.")
            if ".." in values and not any(mark in values for mark in (*_BRACKETS, *_QUOTES)):
                ranges[name] = _parse_range(name, flag, values)
            else:
                choices[name] = _parse_choices(name, flag, values)
        if len(choices.get("deterministic", ())) > 1:
            raise ValueError(
                "deterministic cannot be searched: TensorFlow cannot switch it off again within a "
                "process; make a search with --deterministic and one without."
            )
        return cls(choices, ranges)

    @property
    def names(self) -> tuple[str, ...]:
        """The fields that are searched."""
        return (*self.choices, *self.ranges)

    def hyperparameters(self) -> keras_tuner.HyperParameters:
        """Returns the space as KerasTuner's `HyperParameters`."""
        space = keras_tuner.HyperParameters()
        for name, values in self.choices.items():
            kept = _kept(values)
            space.Choice(name, kept, ordered=not isinstance(kept[0], str))
        for name, (low, high, scale) in self.ranges.items():
            declare = space.Int if isinstance(low, int) else space.Float
            declare(name, low, high, sampling=scale)
        return space

    def changes(self, values: dict[str, Any]) -> dict[str, Any]:
        """Returns what a trial changes in a `TrainingConfig`, for `with_values`.

        Args:
            values: the trial's hyperparameters; those that are not in this space are ignored.
        """
        changes = {name: values[name] for name in self.names}
        for name, choices in self.choices.items():
            changes[name] = choices[_kept(choices).index(values[name])]
        return changes

    def check(self, config: TrainingConfig) -> None:
        """Raises a ValueError unless all combinations give valid configs.

        For ranges, it checks the ends. If there are many combinations, it checks the first 500, and
        each value together with the first values of all others.
        """
        ends = {name: (low, high) for name, (low, high, _) in self.ranges.items()}
        for values in _combinations({**self.choices, **ends}):
            config.with_values(values).validate()


def _combinations(searched: dict[str, tuple]) -> Iterator[dict[str, Any]]:
    """Yields the combinations for `SearchSpace.check`: dictionaries from names to values."""
    if math.prod(map(len, searched.values())) > _CHECKED:
        first = {name: values[0] for name, values in searched.items()}
        for name, values in searched.items():
            yield from ({**first, name: value} for value in values)
    for combined in itertools.islice(itertools.product(*searched.values()), _CHECKED):
        yield dict(zip(searched, combined))


def _kept(values: tuple) -> list:
    """Converts values for KerasTuner, which takes integers, floats or texts, all of one type."""
    if {type(value) for value in values} in ({int}, {float}):
        return list(values)
    return [str(value) for value in values]


def _field_name(flag: str) -> str:
    """Returns the field of a flag, or its field and parameter, such as "mixer.sigma"."""
    names = {
        flag_name(field): field.name
        for field in dataclasses.fields(TrainingConfig)
        if field.name not in _FIXED
    }
    flag, dot, parameter = flag.partition(".")
    if flag not in names:
        raise unknown_name("flag to search", flag, names)
    if not dot:
        return names[flag]
    if names[flag] not in REGISTRIES:
        raise ValueError(f"{flag} has no parameters to search; got {flag}.{parameter}.")
    known = _defaults(names[flag])
    if parameter not in known:
        raise unknown_name(f"parameter of any {flag}:", parameter, known)
    return f"{names[flag]}.{parameter}"


def _defaults(field: str) -> dict[str, list]:
    """Returns the parameters of all entries that a field may name, with their defaults."""
    registry = REGISTRIES[field]
    found: dict[str, list] = {}
    for name in registry.names():
        for key, parameter in registry.parameters(name).items():
            defaults = found.setdefault(key, [])
            if parameter.default not in (None, inspect.Parameter.empty):
                defaults.append(parameter.default)
    return found


def _kind_of(name: str) -> type:
    """Returns the type of a field's values: int, float, bool or str."""
    hint = typing.get_type_hints(TrainingConfig)[name]
    return (typing.get_args(hint) or (hint,))[0]  # The first of `int | None`.


def _parse_choices(name: str, flag: str, text: str) -> tuple:
    parts = [part.strip() for part in _split(text)]
    if "." in name:
        values = _one_type(tuple(_literal(part) for part in parts))
    else:
        values = tuple(_value(_kind_of(name), flag, part) for part in parts)
    for value in values:
        if values.count(value) > 1:
            raise ValueError(f"search names {flag}:{value} twice.")
    return values


def _split(text: str) -> list[str]:
    """Splits a text at the commas outside brackets and quotes."""
    parts, depth, quote = [""], 0, ""
    for letter in text:
        if quote:
            quote = "" if letter == quote else quote
        elif letter in _QUOTES:
            quote = letter
        else:
            depth += _BRACKETS.get(letter, 0)
        if letter == "," and not quote and depth <= 0:
            parts.append("")
        else:
            parts[-1] += letter
    return parts


def _literal(text: str) -> Any:
    """Parses a value as in a call string or on a command line (true, none, unquoted text)."""
    if text.lower() in _WORDS:
        return _WORDS[text.lower()]
    try:
        return parse_call(f"a(value={text})").arguments["value"]
    except ValueError:
        return text


def _one_type(values: tuple) -> tuple:
    """Converts integers to floats if the values include both."""
    if {type(value) for value in values} != {int, float}:
        return values
    try:
        return tuple(map(float, values))
    except OverflowError:  # An integer of hundreds of digits, which no parameter takes.
        return values


def _value(kind: type, flag: str, text: str) -> Any:
    try:
        return {"true": True, "false": False}[text.lower()] if kind is bool else kind(text)
    except (ValueError, KeyError):
        raise ValueError(f"{flag} takes {kind.__name__} values; got {text!r}.") from None


def _parse_range(name: str, flag: str, text: str) -> tuple:
    ends, _, scale = text.partition(":")
    shown = " ".join(text.split())  # On one line.
    low, high = (_end(name, flag, end.strip(), shown) for end in ends.split("..", 1))
    if isinstance(low, float) or isinstance(high, float) or _is_real(name):
        low, high = float(low), float(high)
    if not low < high:
        raise ValueError(f"A range goes from low to high; got {flag}:{shown}.")
    if scale not in ("", "linear", "log"):
        raise ValueError(f"A range's scale must be linear or log; got {scale!r}.")
    if scale == "log" and low <= 0:
        raise ValueError(f"A range with scale log must begin above 0; got {flag}:{shown}.")
    return low, high, scale or "linear"


def _end(name: str, flag: str, text: str, shown: str) -> int | float:
    """Parses one end of a range of integers or floats."""
    kinds = {type(value) for value in _defaults_of(name)}
    if kinds & {str, bool, tuple}:
        raise ValueError(f"{flag} takes names, so a range is not possible; got {shown!r}.")
    value = _value(_kind_of(name), flag, text) if "." not in name else _literal(text)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValueError(f"A range goes from number to number; got {flag}:{shown}.")
    return value


def _defaults_of(name: str) -> list:
    """Returns defaults that show the type of a name's values."""
    field, dot, parameter = name.partition(".")
    return _defaults(field)[parameter] if dot else [_kind_of(name)()]


def _is_real(name: str) -> bool:
    return any(isinstance(value, float) for value in _defaults_of(name))
