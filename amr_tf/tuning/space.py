"""Which values of which flags a search tries."""

import ast
import dataclasses
import inspect
import itertools
import re
import typing

import keras_tuner

from amr_tf.registry import unknown_name
from amr_tf.training.config import REGISTRIES, TrainingConfig, flag_name

# What a search decides or where its files go.
_FIXED = ("run_dir", "seed", "data_dir", "epochs", "verbose")
_CHECKED = 10_000
_BOOLS = {"true": True, "false": False}
# Commas between values, and not those inside of a call's brackets.
_COMMA = re.compile(r",(?![^()]*\))")


@dataclasses.dataclass(frozen=True)
class SearchSpace:
    """Values of fields of `TrainingConfig`, or of parameters of what a field names.

    Attributes:
        choices: dictionary from names ("k", "mixer.sigma") to tuples of values, in the order they
            are tried.
        ranges: dictionary from names to (low, high, scale), scale "linear" or "log".
    """

    choices: dict
    ranges: dict = dataclasses.field(default_factory=dict)

    @classmethod
    def parse(cls, texts):
        """The space of texts such as "lambda:2,5,10" or "mixer.sigma:0.1..1:log".

        Raises:
            ValueError: a text of another form, a flag that is not there or cannot be searched, or
                a value that is not of the flag's type.
        """
        choices, ranges = {}, {}
        for text in texts:
            flag, colon, values = text.partition(":")
            if not colon or not values:
                raise ValueError(
                    f"search must be FLAG:VALUE,VALUE,... or FLAG:LOW..HIGH[:log]; got {text!r}."
                )
            name = _field_name(flag)
            if name in choices or name in ranges:
                raise ValueError(f"search names {flag} twice.")
            if ".." in values:
                ranges[name] = _parse_range(flag, values)
            else:
                kind = kind_of(name)
                texts = re.split(_COMMA, values)
                choices[name] = tuple(_value(kind, flag, value) for value in texts)
        return cls(choices, ranges)

    @property
    def names(self):
        """The fields that are searched."""
        return (*self.choices, *self.ranges)

    def hyperparameters(self):
        """KerasTuner's `HyperParameters`."""
        space = keras_tuner.HyperParameters()
        for name, values in self.choices.items():
            space.Choice(name, list(values), ordered=isinstance(values[0], (int, float)))
        for name, (low, high, scale) in self.ranges.items():
            declare = space.Int if kind_of(name) is int else space.Float
            declare(name, low, high, sampling=scale)
        return space

    def check(self, config):
        """Raises a ValueError unless all combinations make configs that can be trained.

        Of ranges it looks at the ends, and at the first `_CHECKED` combinations only.
        """
        ends = {name: (low, high) for name, (low, high, _) in self.ranges.items()}
        searched = {**self.choices, **ends}
        for values in itertools.islice(itertools.product(*searched.values()), _CHECKED):
            config.with_values(dict(zip(searched, values))).validate()


def _field_name(flag):
    """The field that a flag stands for, or field and parameter: "mixer.sigma"."""
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
    known = _parameters(names[flag])
    if parameter not in known:
        raise unknown_name(f"parameter of any {flag}:", parameter, known)
    return f"{names[flag]}.{parameter}"


def _parameters(field):
    """The parameters of everything that a field may name, with a default of each."""
    registry = REGISTRIES[field]
    return {
        key: parameter.default
        for name in registry.names()
        for key, parameter in registry.parameters(name).items()
    }


def kind_of(name):
    """int, float, bool or str; None where a parameter's default does not tell."""
    field, dot, parameter = name.partition(".")
    if dot:
        default = _parameters(field)[parameter]
        known = default is not None and default is not inspect.Parameter.empty
        return type(default) if known and type(default) in (int, float, bool, str) else None
    hint = typing.get_type_hints(TrainingConfig)[name]
    return (typing.get_args(hint) or (hint,))[0]  # The first of `int | None`.


def _value(kind, flag, text):
    text = text.strip()
    if kind is None:
        try:
            return ast.literal_eval(text)
        except (ValueError, SyntaxError):
            return text
    try:
        return _BOOLS[text.lower()] if kind is bool else kind(text)
    except (ValueError, KeyError):
        raise ValueError(f"{flag} takes {kind.__name__} values; got {text!r}.") from None


def _parse_range(flag, text):
    ends, _, scale = text.partition(":")
    kind = kind_of(_field_name(flag)) or float
    if kind in (str, bool):
        raise ValueError(f"{flag} takes names, of which there is no range; got {text!r}.")
    low, high = (_value(kind, flag, end) for end in ends.split("..", 1))
    shown = " ".join(text.split())  # On one line.
    if not low < high:
        raise ValueError(f"A range goes from low to high; got {flag}:{shown}.")
    if scale not in ("", "linear", "log"):
        raise ValueError(f"A range's scale must be linear or log; got {scale!r}.")
    if scale == "log" and low <= 0:
        raise ValueError(f"A range with scale log must begin above 0; got {flag}:{shown}.")
    return low, high, scale or "linear"
