"""YAML is read safely, as YAML 1.2 means it, and every position is known."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onnxbuild.errors import RecipeError
from onnxbuild.recipe.reader import read


def data(text):
    return read(text, "r.yaml").data


def refusal(text):
    with pytest.raises(RecipeError) as caught:
        read(text, "r.yaml")
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 1e-3), ("1e5", 1e5), ("-1.5E+3", -1500.0), (".5", 0.5), ("1.", 1.0), ("0o17", 15),
        ("0x1F", 31), ("017", 17), ("+3", 3), ("yes", "yes"), ("on", "on"), ("No", "No"), ("y", "y"),
        ("12:30:45", "12:30:45"), ("2024-01-01", "2024-01-01"), ("1_000", "1_000"), ("true", True),
        ("FALSE", False), ("~", None), ("null", None), ("", None), ("'1'", "1"), ('"true"', "true"),
        (".inf", float("inf")), ("-.INF", float("-inf")), ("!!str 1", "1"), ("!!float 1", 1.0),
        ("0b11", "0b11"), ("1:2", "1:2"), ("=", "="), ("<", "<"), ("2.0.1", "2.0.1"),
    ],
)  # fmt: skip
def test_scalars_mean_what_yaml_1_2_says(text, value):
    """Numbers are numbers with or without a dot; yes, dates and times are text."""
    found = data(f"a: {text}\n")["a"]

    assert found == value
    assert type(found) is type(value)


def test_every_key_is_text():
    """Axes are integers in YAML, and one key however they are written."""
    found = data("a: {0: batch, 0x2: two, true: t, 1.5: f, ~: n}\n")

    assert found == {"a": {"0": "batch", "2": "two", "true": "t", "1.5": "f", "~": "n"}}


def test_positions_are_those_of_the_file():
    """Line and column of every key and value, in block and flow style and in lists."""
    document = read("a:\n  b: {c: 18, d: [x, yy]}\n", "r.yaml")

    assert document.lines[1][document.keys["a", "b", "c"].column :].startswith("c: 18")
    span = document.values["a", "b", "d", "1"]
    assert (span.line, span.column, span.width) == (1, 20, 2)


def test_anchors_and_merges_are_written_out():
    """An alias stands for what it names; keys given beside `<<` win."""
    found = data("base: &b {x: 1, y: 2}\none: *b\ntwo: {<<: *b, y: 3}\nthree: {<<: [*b, {z: 4}]}\n")

    assert found["one"] == {"x": 1, "y": 2}
    assert found["two"] == {"x": 1, "y": 3}
    assert found["three"] == {"x": 1, "y": 2, "z": 4}


def test_an_alias_bomb_is_refused():
    """Nine levels of nine would be a billion values."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 9)]

    message = refusal("\n".join(lines))

    assert "more than 100000 values" in message


@pytest.mark.parametrize(
    ("text", "said"),
    [
        pytest.param("a: 1\nb: 2\na: 3\n", "r.yaml:3:1: the key 'a' is given twice; first at 1:1", id="twice"),
        pytest.param("a: {0: x, '0': y}\n", "the key '0' is given twice; first at 1:5", id="axis"),
        pytest.param("a: &a [*a]\n", "the alias *a stands inside of what it names", id="loop"),
        pytest.param("a: *b\n", "alias", id="no-anchor"),
        pytest.param("a:\n\tb: 1\n", "a tab cannot indent YAML", id="tab"),
        pytest.param("a: !!python/object:os.system x\n", "means nothing here", id="tag"),
        pytest.param("a: !!int x\n", "'x' is no !!int", id="not-int"),
        pytest.param("", "the file is empty", id="empty"),
        pytest.param("# nothing\n", "the file is empty", id="comment"),
        pytest.param("~\n", "the file says nothing", id="null"),
        pytest.param("- a\n", "this is no mapping", id="list"),
        pytest.param("a: 1\n---\nb: 2\n", "a second one begins", id="documents"),
        pytest.param("a: [1\nb: 2\n", "this is not YAML", id="bracket"),
        pytest.param("a: b: c\n", "contains `: ` not in quotes", id="colon"),
        pytest.param("{a: {[1]: 2}}\n", "a key must be text", id="list-key"),
        pytest.param(b"a: \xff\n", "r.yaml:1:4: this is not UTF-8: byte 0xff", id="latin1"),
        pytest.param("a: x\nb: \x00\n", "the character U+0000 has no place", id="nul"),
        pytest.param('a: "x\\0"\n', "the character U+0000 has no place in a recipe", id="nul-escape"),
        pytest.param("[" * 200, "nested more than 50 deep", id="deep"),
        pytest.param("[" * 100_000, "nested more than 50 deep", id="very-deep"),
        pytest.param("a: {<<: 3}\n", "`<<` takes a mapping", id="merge"),
        pytest.param("a: &a 1\nb: [" + "*a, " * 101 + "]\n", "more than 100 aliases", id="aliases"),
        pytest.param("a: @x\n", "put the value in quotes", id="at"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_with_its_place(text, said):
    """Each kind of unreadable file has a message of its own."""
    message = refusal(text)

    assert said in message
    assert message.startswith("r.yaml")


def test_all_duplicates_are_reported_at_once():
    """One run shows them all."""
    message = refusal("a: 1\na: 2\nb: {c: 1, c: 2}\n")

    assert message.count("given twice") == 2


def test_a_byte_order_mark_does_no_harm():
    """Windows editors write one."""
    assert data(b"\xef\xbb\xbfa: 1\n") == {"a": 1}


def is_read_or_refused(content):
    """Tell whether a file gives a mapping, or a refusal that names it."""
    try:
        return isinstance(read(content, "r.yaml").data, dict)
    except RecipeError as error:
        return str(error).startswith("r.yaml")


@settings(max_examples=300, deadline=None)
@given(
    st.one_of(st.text(max_size=60), st.text(alphabet="ab:{}[]&*<!|>-? \n'\"#%@,0.~\t", max_size=40))
)
def test_no_text_makes_it_fail_otherwise(text):
    """Whatever the file holds: a mapping, or a refusal in words."""
    assert is_read_or_refused(text.encode("utf-8", "surrogatepass"))


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=60))
def test_no_bytes_make_it_fail_otherwise(content):
    """The same for bytes."""
    assert is_read_or_refused(content)
