"""Call strings: what they say comes back, nothing in them is evaluated, and errors name the way."""

import inspect
import keyword
import warnings

import keras
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from amr_tf import losses
from amr_tf.mixers import MIXERS
from amr_tf.models import METHODS
from amr_tf.networks import PROBES
from amr_tf.networks.architectures import ARCHITECTURES
from amr_tf.optimizers import OPTIMIZERS, SCHEDULES
from amr_tf.registry import (
    Call,
    Registry,
    is_literal,
    keyword_parameters,
    parse_call,
    split_calls,
    unknown_name,
)

REGISTRIES = (
    ARCHITECTURES,
    losses.GAN_LOSSES,
    losses.RECONSTRUCTION_LOSSES,
    METHODS,
    MIXERS,
    OPTIMIZERS,
    PROBES,
    SCHEDULES,
)
ENTRIES = [(registry, name) for registry in REGISTRIES for name in registry.names()]
IDS = [f"{registry.kind}: {name}" for registry, name in ENTRIES]


def error(function, *args, **kwargs):
    """The one sentence with which something is refused."""
    with pytest.raises(ValueError) as raised:
        function(*args, **kwargs)
    text = str(raised.value)
    assert "\n" not in text
    return text


# Call strings.

words = st.from_regex(r"[a-z_][a-z0-9_]{0,10}", fullmatch=True).filter(
    lambda word: not keyword.iskeyword(word)
)
numbers = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
scalars = numbers | st.booleans() | st.none() | st.text(max_size=20)
literals = st.recursive(scalars, lambda inner: st.lists(inner, max_size=3).map(tuple), max_leaves=6)
calls = st.builds(Call, words, st.dictionaries(words, literals, max_size=4))


@settings(max_examples=300, deadline=None)
@given(calls)
def test_what_a_call_says_comes_back(call):
    assert parse_call(str(call)) == call
    assert all(map(is_literal, call.arguments.values()))


@settings(max_examples=100, deadline=None)
@given(calls, words, words)
def test_a_nested_call_is_its_text(inner, outer, parameter):
    """In quotes or without, and it reads as the call that it was."""
    expected = Call(outer, {parameter: str(inner)})
    if inner.arguments:
        bare = parse_call(f"{outer}({parameter}={inner})")
        assert bare == expected
        assert parse_call(bare.arguments[parameter]) == inner
    assert parse_call(str(expected)) == expected


@settings(max_examples=100, deadline=None)
@given(calls, st.text(" \t", max_size=3))
def test_spaces_do_not_matter(call, space):
    text = str(call)
    name, bracket, rest = text.partition("(")
    assert parse_call(f"{space}{name}{space}{bracket}{rest}{space}") == call


@settings(max_examples=400, deadline=None)
@given(st.text(max_size=40) | st.text("abf(){}[]=',.*:0 \\\"\n", max_size=25))
def test_any_text_is_read_or_refused_in_one_sentence(text):
    try:
        call = parse_call(text)
    except ValueError as refused:
        assert "\n" not in str(refused)
        assert len(str(refused)) < 400
    else:
        assert all(map(is_literal, call.arguments.values()))


RAN = []


class Trap:
    """What would be noticed, were a text evaluated."""

    def __getattr__(self, name):
        RAN.append(name)
        return self

    def __call__(self, *args, **kwargs):
        RAN.append("call")


trap = Trap()


@pytest.mark.parametrize(
    "text",
    [
        "f(a=__import__('os').system('true'))",
        "f(a=trap())",
        "f(a=trap.attribute)",
        "f(a=(trap(),))",
        "f(a=[x for x in (1,)])",
        "f(a=lambda: 1)",
        "f(a=1 if 1 else 2)",
        "f(a=(lambda: trap())())",
        "f(a=f'{trap()}')",
        "f(a={trap(): 1})",
        "f(a=open)",
        "f(a=1)(b=2)",
        "f(a=1).b",
        "f(a=1) + f(b=2)",
        "f(**{'a': 1})",
        "f(*[1])",
        "f(1)",
        "f(a)",
        "f(a=1, a=2)",
        "f(a==1)",
        "f(a:=1)",
        "f(a=yes)",
        "f(a=1",
        "f(a=1))",
        "f(",
        "f(a=1); trap()",
        "f(a=1)\ntrap()",
        "f(a='x)",
        "f(a=10**10**10)",
        "f(a=" + "(" * 300 + ")" * 300 + ")",
        "f(a=" + "-" * 3000 + "1)",
        "f(a='" + "x" * 20_000 + "')",
        "f(a=\0)",
        "f(a={'b': 1})",
        "f(a={1, 2})",
        "f(a=b'bytes')",
        "f(a=1j)",
        "f(a=...)",
        "f(a=1e999)",
        "f(a=(1, -1e999))",
    ],
)
def test_nothing_is_evaluated(text):
    RAN.clear()
    try:
        call = parse_call(text)
    except ValueError as refused:
        assert "\n" not in str(refused)
    else:
        # A nested call stays a text, which is looked up by its name and never run.
        assert call.arguments in ({"a": "trap"}, {"a": ("trap",)})
        assert text in ("f(a=trap())", "f(a=(trap(),))")
    assert not RAN


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("f(1)", "every value needs its parameter's name, parameter=value."),
        ("f(**{'a': 1})", "every value needs its parameter's name"),
        ("f(a=1, a=2)", "cannot be read: it gives a twice."),
        ("f(a=1", "write NAME(parameter=value, ...), with texts in quotes."),
        (
            "f(a=mixup)",
            "a must be a finite number, True, False, None, a text in quotes: 'mixup', or a",
        ),
        ("f(a=(b, 1))", "a text in quotes: 'b'"),
        ("f(a={'b': 1})", "or a tuple of these"),
        ("f(a=1+1)", "or a tuple of these"),
    ],
)
def test_what_is_wrong_with_a_call(text, message):
    assert message in error(parse_call, text, "mixer")
    assert error(parse_call, text, "mixer").startswith(f"mixer {text!r} cannot be read: ")


def test_a_list_of_calls():
    text = " one,two(name='a,b) ', size=(1, 2)),my-own.three() ,"
    assert split_calls(text) == ["one", "two(name='a,b) ', size=(1, 2))", "my-own.three()"]
    assert split_calls("") == []


@pytest.mark.parametrize("text", ["one two", "one(", "one,,two", "[" * 5000, "x" * 10_001])
def test_what_is_no_list_of_calls(text):
    assert error(split_calls, text, "trackers").startswith(
        f"trackers {text[:80]!r} cannot be read: write names or calls"
    )


@pytest.mark.parametrize("given_value", [None, 3, ("mixup",), b"mixup"])
def test_only_texts_are_parsed(given_value):
    assert "mixer must be a name or a call such as name(size=2); got" in error(
        parse_call, given_value, "mixer"
    )


def test_only_literals_are_literals():
    for value in (1, -2.5, True, None, "text", (), (1, ("a", None)), [1, [2]]):
        assert is_literal(value)
    for value in (float("inf"), float("nan"), object(), {1: 2}, {1}, 1j, b"a", (1, object()), len):
        assert not is_literal(value)


# Registries.


@pytest.fixture
def colours():
    """A registry of functions and classes, with a context."""
    registry = Registry("colour", context={"seed": "--seed", "size": "the data"})

    @registry.register("red")
    def red(size, share=0.5, *, name="red", deep=False, parts=(1, 2), limit=None):
        return ("red", size, share, name, deep, parts, limit)

    @registry.register("green")
    class Green:
        def __init__(self, tone, size=1, seed=None):
            self.arguments = (tone, size, seed)

    registry.register("dark-blue")(lambda: "dark blue")
    return registry


def test_names_and_entries(colours):
    assert colours.names() == ["dark-blue", "green", "red"]
    assert colours.get("dark-blue")() == "dark blue"
    assert list(colours.parameters("red")) == ["share", "name", "deep", "parts", "limit"]
    assert list(colours.parameters("green")) == ["tone"]
    assert not colours.parameters("dark-blue")
    assert colours.takes("red", "size")
    assert colours.takes("red", "share")
    assert not colours.takes("red", "seed")


def test_build(colours):
    assert colours.build("red", size=3) == ("red", 3, 0.5, "red", False, (1, 2), None)
    built = colours.build("red(share=0.25, parts=(3,), deep=True)", size=3, seed=7)
    assert built == ("red", 3, 0.25, "red", True, (3,), None)
    assert colours.build("green(tone=2)", size=4, seed=5).arguments == (2, 4, 5)
    # What the context does not know is left to the entry.
    assert colours.build("green(tone=2)").arguments == (2, 1, None)
    assert colours.build("dark-blue", size=3, seed=1) == "dark blue"
    assert colours.build(Call("red", {"limit": object}), size=1)[-1] is object


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("rde", "Unknown colour 'rde'. Did you mean 'red'? Allowed: dark-blue, green, red."),
        ("Red", "Did you mean 'red'"),
        ("xyzzy", "Unknown colour 'xyzzy'. Allowed: dark-blue, green, red."),
        ("", "Unknown colour ''."),
        ("a\nb", "Unknown colour 'a\\nb'."),
        ("red(shrae=1)", "parameter of colour 'red': 'shrae'. Did you mean 'share'? Allowed: deep"),
        ("dark-blue(a=1)", "Unknown parameter of colour 'dark-blue': 'a'. It takes none."),
        ("red(size=1)", "size of colour 'red' is set by the data, not in a call."),
        ("green(tone=1, seed=2)", "seed of colour 'green' is set by --seed, not in a call."),
        ("green", "colour 'green' needs its parameter tone: green(tone=...)."),
        ("red(share='much')", "share of colour 'red' must be a number, such as 0.5; got 'much'."),
        ("red(share=True)", "share of colour 'red' must be a number, such as 0.5; got True."),
        ("red(share=None)", "must be a number"),
        ("red(deep=1)", "deep of colour 'red' must be True or False, such as False; got 1."),
        ("red(name=3)", "name of colour 'red' must be a text in quotes, such as 'red'; got 3."),
    ],
)
def test_what_a_registry_refuses(colours, text, message):
    assert message in error(colours.build, text, size=1)
    assert message in error(colours.parse, text)


def test_values_of_any_kind_where_the_default_does_not_say(colours):
    for value in (1, "a", None, (1, 2), 0.5, True):
        assert colours.build(str(Call("red", {"limit": value})), size=1)[-1] == value


@pytest.mark.parametrize("name", ["none", "", "a b", "a(b)", "a=b", "1a", "é(", "a/b", "a'b"])
def test_names_that_cannot_stand_in_a_call(colours, name):
    assert f"A colour cannot be called {name!r}" in error(colours.register, name)


@pytest.mark.parametrize("name", ["a", "a_b", "a-b", "a.b", "B2"])
def test_names_that_can(colours, name):
    colours.register(name)(lambda: name)
    assert colours.build(name) == name


def test_a_name_is_registered_once(colours):
    text = error(colours.register("red"), len)
    assert text.startswith("A colour called 'red' is registered already")
    assert "replace=True" in text
    assert colours.build("red", size=1)[0] == "red"
    colours.register("red", replace=True)(lambda: "another")
    assert colours.build("red") == "another"
    colours.register("new", replace=True)(lambda: "new")
    assert colours.build("new") == "new"


def test_registering_returns_the_entry(colours):
    def entry():
        return 1

    assert colours.register("entry")(entry) is entry


def test_inputs_of_a_loss_are_no_parameters():
    registry = Registry("loss", skip=2)

    @registry.register("scaled")
    def scaled(images, others, by=2.0):
        return by * (images - others)

    @registry.register("class")
    class Loss:
        def __init__(self, by=2.0, more=1):
            self.by = by

    assert list(registry.parameters("scaled")) == ["by"]
    assert list(registry.parameters("class")) == ["by", "more"]
    assert "'images'" in error(registry.parse, "scaled(images=1)")


# Canonical texts.


def test_short(colours):
    """What a person reads: the name, and what is not as by default."""
    for text in ("red", "red(limit=3)", "red(deep=True, limit=3)", "green(tone=2)", "dark-blue"):
        assert colours.short(colours.canonical(text)) == text


def test_completed(colours):
    """What stands for parameters from before they existed, unless they are written."""

    class Old:
        older_defaults = {"depth": 0, "hue": "blue"}

        def __init__(self, width=1, depth=2, hue="red"):
            pass

    class OfAUser(Old):
        def __init__(self, width=1):
            pass

    colours.register("old")(Old)
    colours.register("of_a_user")(OfAUser)
    assert colours.completed("old") == "old(depth=0, hue='blue')"
    assert colours.completed("old(width=3, depth=2)") == "old(depth=2, hue='blue', width=3)"
    assert colours.completed("of_a_user(width=3)") == "of_a_user(width=3)"
    assert colours.completed("red(limit=3)") == "red(limit=3)"


def test_canonical(colours):
    expected = "red(share=0.5, name='red', parts=(1, 2))"
    assert colours.canonical("red") == colours.canonical("red()") == expected
    assert colours.canonical("red(name='red')") == expected
    assert colours.canonical(" red( parts = [1, 2] )") == expected
    assert colours.canonical("red(deep=False, limit=None)") == expected
    with_more = "red(share=0.5, name='red', deep=True, parts=(1, 2), limit=3)"
    assert colours.canonical("red(limit=3, deep=True)") == with_more
    assert colours.canonical("green(tone=2)") == "green(tone=2)"
    assert colours.canonical("dark-blue") == "dark-blue"


def arguments_for(registry, name):
    """Values for a call's parameters, of the kinds of their defaults."""
    chosen = {}
    for key, parameter in registry.parameters(name).items():
        default = parameter.default
        if default is inspect.Parameter.empty:
            chosen[key] = st.just(0.5)
        elif isinstance(default, bool):
            chosen[key] = st.booleans()
        elif isinstance(default, (int, float)):
            chosen[key] = st.integers(1, 9) | st.floats(0.1, 9, allow_nan=False)
        elif isinstance(default, str):
            chosen[key] = st.just(default)
        else:
            chosen[key] = st.just(default) if is_literal(default) else st.none()
    required = {
        key: chosen[key]
        for key, parameter in registry.parameters(name).items()
        if parameter.default is inspect.Parameter.empty
    }
    # Calls among the values are looked at by themselves.
    left_out = {*required, *registry.nested}
    optional = {key: value for key, value in chosen.items() if key not in left_out}
    return st.fixed_dictionaries(required, optional=optional)


def test_another_name_means_the_registered_one():
    registry = Registry("colour", aliases={"grey": "gray"})
    registry.register("gray")(lambda level=0.5: level)
    assert registry.build("grey(level=0.25)") == 0.25
    assert registry.canonical("grey") == registry.canonical("gray") == "gray(level=0.5)"
    assert registry.names() == ["gray"]


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_canonical_is_idempotent_and_means_the_same(data):
    registry, name = data.draw(st.sampled_from(ENTRIES))
    arguments = data.draw(arguments_for(registry, name))
    once = registry.canonical(str(Call(name, arguments)))
    assert registry.canonical(once) == once
    defaults = {
        key: value.default
        for key, value in registry.parameters(name).items()
        if value.default is not inspect.Parameter.empty
    }
    for key, nested in registry.nested.items():
        if isinstance(defaults.get(key), str):
            defaults[key] = nested.canonical(defaults[key])
        elif isinstance(defaults.get(key), tuple):
            defaults[key] = tuple(map(nested.canonical, defaults[key]))
    assert {**defaults, **registry.parse(once).arguments} == {**defaults, **arguments}
    # The order in which parameters are given does not matter.
    turned = Call(name, dict(reversed(arguments.items())))
    assert registry.canonical(str(turned)) == once


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_a_typo_names_what_was_meant(data):
    registry, name = data.draw(st.sampled_from(ENTRIES))
    known = list(registry.parameters(name))
    chosen = data.draw(st.sampled_from([name, *known]))
    place = data.draw(st.integers(0, len(chosen) - 1))
    typo = chosen[:place] + chosen[place] + chosen[place:]  # A letter twice.
    if chosen == name and typo not in registry.names():
        hint = error(registry.parse, typo)
    elif chosen in known and typo not in known:
        hint = error(registry.parse, f"{name}({typo}=1)")
    else:
        return
    assert f"Did you mean '{chosen}'?" in hint


# What is registered.


@pytest.mark.parametrize(("registry", "name"), ENTRIES, ids=IDS)
def test_every_entry_describes_itself(registry, name):
    """Its description, with all defaults written out, is a call of it: help texts show it."""
    text = registry.describe(name)
    parsed = parse_call(text.replace("=...", "='required'"))
    assert parsed.name == name
    parameters = registry.parameters(name)
    required = [
        key for key, value in parameters.items() if value.default is inspect.Parameter.empty
    ]
    assert set(parsed.arguments) == set(parameters)
    assert [key for key, value in parsed.arguments.items() if value == "required"] == required
    if not required:
        assert registry.parse(text) == parsed
        canonical = registry.parse(registry.canonical(name)).arguments
        expected = parse_call(registry.canonical(text)).arguments
        assert canonical.items() <= {**parsed.arguments, **expected}.items()


def test_nothing_of_a_registrys_context_is_a_parameter():
    for registry, name in ENTRIES:
        assert not set(registry.parameters(name)) & set(registry.context)
        assert not {"self", "cls", "args", "kwargs"} & set(registry.parameters(name))


def test_unknown_names():
    assert str(unknown_name("kind", "x", ())) == "Unknown kind 'x'. It takes none."
    assert str(unknown_name("kind", 3, ["three"])) == "Unknown kind '3'. Allowed: three."


# Signatures.


def test_parameters_through_a_class_and_its_bases():
    class Base:
        def __init__(self, first, second=2, **kwargs):
            pass

        @classmethod
        def create(cls, shape, size=1, **kwargs):
            pass

    class Derived(Base):
        def __init__(self, *args, second=3, third=4, **kwargs):
            super().__init__(*args, second=second, **kwargs)

        @classmethod
        def create(cls, *args, size=5, more=6, **kwargs):
            pass

    class Closed(Derived):
        def __init__(self, third=7):
            super().__init__(1, third=third)

    found = keyword_parameters(Derived)
    assert {key: value.default for key, value in found.items() if key != "first"} == {
        "second": 3,
        "third": 4,
    }
    assert "first" in found
    assert list(keyword_parameters(Closed)) == ["third"]
    sizes = keyword_parameters(Derived, "create")
    assert sizes["size"].default == 5
    assert set(sizes) == {"size", "more", "shape"}
    assert not keyword_parameters(object)


def test_what_every_keras_layer_takes_is_not_read():
    class Layer(keras.layers.Layer):
        def __init__(self, size=3, **kwargs):
            super().__init__(**kwargs)

    assert list(keyword_parameters(Layer)) == ["size"]


def test_pythons_parser_prints_nothing():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ValueError, match="beta_1 must be a finite number"):
            parse_call("adam(beta_1=1is 2)")


def test_calls_among_the_values_are_written_out_too():
    inner = Registry("inner", context={"k": "--k"})
    outer = Registry("outer", nested={"parts": inner, "part": inner})
    inner.register("a")(lambda k=2, size=1, name="x": None)
    inner.register("b")(lambda: None)
    outer.register("o")(lambda part="a", parts=("a", "b"), text="a": None)
    canonical = "o(part=\"a(size=1, name='x')\", parts=(\"a(size=1, name='x')\", 'b'), text='a')"
    for text in ("o", "o(part='a')", "o(part=a(name='x', size=1))", "o(parts=('a(size=1)', b()))"):
        assert outer.canonical(text) == canonical
    assert outer.canonical(canonical) == canonical
    assert outer.canonical("o(part=None)") != canonical
    assert outer.canonical("o(parts=(3, 'b'))").endswith("parts=(3, 'b'), text='a')")
    with pytest.raises(ValueError, match="^Unknown inner 'c'"):
        outer.canonical("o(parts=('c',))")
