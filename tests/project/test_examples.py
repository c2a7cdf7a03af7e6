"""The examples of a project from every kind of source, and their stable split."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from relevo.errors import ConfigError
from relevo.project.config import read_project
from relevo.project.data import Example, check_examples, load_examples
from relevo.project.holdout import held_out
from relevo.project.training import fingerprint, split_examples

if TYPE_CHECKING:
    from pathlib import Path

    from relevo.project.image_folder import Unreadable


def examples(folder: Path, data: str) -> list[Example]:
    (folder / "relevo.toml").write_text(f'[model]\nname = "m"\n[data]\n{data}\n', encoding="utf-8")
    return load_examples(read_project(folder))


def test_a_folder_for_each_class(tmp_path: Path) -> None:
    """Images are the bytes of their files, the folder's name is the truth, other files are skipped."""
    for name, grey in (("cat", 10), ("dog", 200)):
        (tmp_path / "data" / name).mkdir(parents=True)
        Image.new("L", (4, 4), grey).save(tmp_path / "data" / name / "1.PNG")
    (tmp_path / "data" / "cat" / "notes.txt").write_text("no picture", encoding="utf-8")
    (tmp_path / "data" / ".cache").mkdir()
    loaded = examples(tmp_path, 'path = "data"')
    assert [example.y for example in loaded] == ["cat", "dog"]
    with Image.open(io.BytesIO(loaded[1].x)) as picture:
        assert picture.getpixel((0, 0)) == 200
    assert loaded[0].identity == loaded[0].x


def test_a_table(tmp_path: Path) -> None:
    """Columns are integers, numbers or text according to their cells; empty cells are None; some columns are not inputs."""
    (tmp_path / "t.csv").write_text("id,age,pay,city,gone\na,41,1.5,Rome,yes\nb,,NA,,no\n", encoding="utf-8-sig")
    loaded = examples(tmp_path, 'path = "t.csv"\ntarget = "gone"\nidentity = "id"')
    assert [example.x for example in loaded] == [{"age": 41, "pay": 1.5, "city": "Rome"}, {"age": None, "pay": None, "city": None}]
    assert [example.y for example in loaded] == ["yes", "no"]
    assert [example.identity for example in loaded] == [b"a", b"b"]
    assert examples(tmp_path, 'path = "t.csv"\ntarget = "gone"\nignore = ["id", "city"]')[0].x == {"age": 41, "pay": 1.5}


def test_blank_lines_and_separators_at_the_end_are_nothing(tmp_path: Path) -> None:
    """Blank lines and trailing separators, as spreadsheets write them, add no row and no column."""
    (tmp_path / "t.csv").write_text("a,y,\n1,no,\n\n,,\n2,yes,\n", encoding="utf-8")
    loaded = examples(tmp_path, 'path = "t.csv"\ntarget = "y"')
    assert [(example.x, example.y) for example in loaded] == [({"a": 1}, "no"), ({"a": 2}, "yes")]


@pytest.mark.parametrize("separator", [";", "\t"])
def test_table_separators(tmp_path: Path, separator: str) -> None:
    """Semicolons and tabs separate, as in the header line; texts may contain commas."""
    text = 'a|b|"c, or d"|y\n1|x, y|2.5|no\n2||3|yes\n'
    (tmp_path / "t.csv").write_text(text.replace("|", separator), encoding="utf-8-sig")
    loaded = examples(tmp_path, 'path = "t.csv"\ntarget = "y"')
    assert [example.x for example in loaded] == [{"a": 1, "b": "x, y", "c, or d": 2.5}, {"a": 2, "b": None, "c, or d": 3.0}]
    assert [example.y for example in loaded] == ["no", "yes"]


def test_arrays(tmp_path: Path) -> None:
    """X and y of a .npz become one example a row; pickled objects are never loaded."""
    np.savez(tmp_path / "a.npz", x=np.arange(6.0).reshape(3, 2), y=np.array([1, 0, 1]))
    loaded = examples(tmp_path, 'path = "a.npz"')
    assert [example.y for example in loaded] == [1, 0, 1]
    assert loaded[2].x.tolist() == [4.0, 5.0]
    np.savez(tmp_path / "a.npz", x=np.array([{"evil": 1}], dtype=object), y=np.array([1]))
    with pytest.raises(ConfigError, match=r"'a.npz' holds objects, and no arrays of numbers or texts"):
        examples(tmp_path, 'path = "a.npz"')
    (tmp_path / "a.npz").write_text("no archive", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"'a.npz' is no .npz that NumPy wrote"):
        examples(tmp_path, 'path = "a.npz"')


def test_a_program(tmp_path: Path) -> None:
    """load() returns x and y of any kind."""
    (tmp_path / "data.py").write_text("def load():\n    return [{'a': 1}, {'a': 2}], ['x', 'y']\n", encoding="utf-8")
    assert [(example.x, example.y) for example in examples(tmp_path, 'path = "data.py"')] == [({"a": 1}, "x"), ({"a": 2}, "y")]


def test_a_program_that_gives_paths(tmp_path: Path) -> None:
    """load() may return the paths of images; an unreadable one is reported and skipped with its truth."""
    Image.new("L", (4, 4), 7).save(tmp_path / "good.png")
    (tmp_path / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\n but no more")
    (tmp_path / "data.py").write_text(
        "from pathlib import Path\n"
        "def load():\n"
        "    return [Path(__file__).with_name(name) for name in ('bad.png', 'good.png')], ['bad', 'good']\n",
        encoding="utf-8",
    )
    (tmp_path / "relevo.toml").write_text('[model]\nname = "m"\n[data]\npath = "data.py"\n', encoding="utf-8")
    skipped: list[Unreadable] = []
    loaded = load_examples(read_project(tmp_path), skipped.append)
    assert [(example.x, example.y) for example in loaded] == [((tmp_path / "good.png").read_bytes(), "good")]
    assert [example.path.name for example in skipped] == ["bad.png"]


@pytest.mark.parametrize(
    ("files", "data", "message"),
    [
        ({}, 'path = "nowhere"', "there is no 'nowhere'"),
        ({"t.csv": "a,b\n"}, 'path = "t.csv"\ntarget = "a"', "'t.csv' has a head line and no rows"),
        ({"t.csv": "a,b\n"}, 'path = "t.csv"\ntarget = "c"', "column 'c', which t.csv has not"),
        ({"t.csv": "a;b\n1;2,5\n3;4\n"}, 'path = "t.csv"\ntarget = "b"', "decimal comma in the column 'b'"),
        ({"t.csv": "a,b\n1,2,5\n"}, 'path = "t.csv"\ntarget = "b"', "'t.csv' has lines of another length"),
        ({"t.csv": ""}, 'path = "t.csv"\ntarget = "a"', "'t.csv' is empty"),
        (
            {"t.csv": "a,b\n1,2\n3\n5,6\n7\n"},
            'path = "t.csv"\ntarget = "b"',
            r"length than its head: 2, the first is line 3 \(1 cells",
        ),
        ({"t.csv": "a,a,b\n1,2,3\n"}, 'path = "t.csv"\ntarget = "b"', "2 columns named 'a'"),
        ({"t.csv": "b,a,b\n1,2,3\n"}, 'path = "t.csv"\ntarget = "b"', "2 columns named 'b'"),
        ({"t.csv": ",a,b\n0,2,3\n"}, 'path = "t.csv"\ntarget = "b"', "gives column 1 no name"),
        ({"t.csv": "a,b\n1,2\n\n3,\n5,NA\n"}, 'path = "t.csv"\ntarget = "b"', "t.csv: 2 of 3 rows .* 'b', the first in line 4"),
        ({"t.csv": "a,b\n1,2\n"}, 'path = "t.csv"', "needs target"),
        ({"t.csv": "a,b\n1,2\n"}, 'path = "t.csv"\ntarget = "c"', "column 'c'"),
        ({"d.py": "x = 1\n"}, 'path = "d.py"', r"no function load\(\)"),
        ({"d.py": "def load():\n    return [1, 2], [1]\n"}, 'path = "d.py"', "2 inputs but 1 truths"),
        ({"d.parquet": ""}, 'path = "d.parquet"', "must be a folder"),
    ],
)
def test_what_cannot_be_used_is_named(tmp_path: Path, files: dict[str, str], data: str, message: str) -> None:
    """Every unusable source gives an error that says what is missing."""
    for name, text in files.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=message):
        examples(tmp_path, data)


_Y = "['x', 'y'] * 50"


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        ("None", "must return x, y: .* it returned nothing"),
        ("5", "it returned a int"),
        ("(1, 2, 3, 4)", "it returned 4 values"),
        ("(5, 6)", "gives a int where a list"),
        ("pandas.DataFrame({'a': range(100)})", "returned a table alone; .* target"),
        (f"pandas.DataFrame([[1, 2]] * 100, columns=['a', 'a']), {_Y}", "several columns named 'a'"),
        (f"['hello'] * 100, {_Y}", "example 1 is a text; give a record"),
        (f"[numpy.zeros((100, 3)), numpy.zeros((100, 2))], {_Y}", "2 arrays of inputs"),
        (f"{{'a': numpy.zeros(100)}}, {_Y}", "gives the inputs by name"),
        (f"numpy.zeros((100, 8, 8), dtype='uint8'), {_Y}", r'is a picture; \[input\] needs kind = "image"'),
        (f"numpy.zeros((100, 8, 8)), {_Y}", "type float64 cannot be taken"),
        (f"[{{'a': [1]}}] * 100, {_Y}", "the field 'a' of example 1 is a list"),
        (f"[{{'a': 1}}, [1]] * 50, {_Y}", "not all of one kind"),
        (f"[[1, 2], [3]] * 50, {_Y}", "not all of one kind"),
        (f"[['a', 'b']] * 100, {_Y}", "example 1 is a list"),
        ("[[1]] * 100, [None, 1] * 50", "50 of 100 examples have no truth, the first is example 1"),
        ("[[1]] * 100, numpy.array([1, numpy.nan] * 50)", "the first is example 2"),
        ("[[1]] * 100, ['a', 1] * 50", "mix texts and numbers"),
        ("[[1]] * 100, numpy.ones((100, 2))", "the truth of example 1 is a list"),
        ("[[1]] * 100, ['a'] * 100", "have the truth 'a'; there is nothing to tell apart"),
        ("numpy.zeros((2, 3)), [1]", "2 inputs but 1 truths"),
    ],
)
def test_invalid_return_values_of_load_are_explained(tmp_path: Path, returned: str, message: str) -> None:
    """An invalid return value of load() gives an error with the actual and the expected value, without Python's own message."""
    (tmp_path / "data.py").write_text(f"import numpy\nimport pandas\ndef load():\n    return {returned}\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=message):
        check_examples(examples(tmp_path, 'path = "data.py"'), read_project(tmp_path))


@pytest.mark.parametrize(
    "returned",
    [
        "pandas.DataFrame({'a': range(100)}), pandas.Series(['x', 'y'] * 50)",
        "pandas.DataFrame({'a': range(100)}), pandas.DataFrame({'y': ['x', 'y'] * 50})",
        "({'a': n} for n in range(100)), ('xy'[n % 2] for n in range(100))",
        "{'x': [pandas.Series({'a': n}) for n in range(100)], 'y': numpy.array(['x', 'y'] * 50)}",
    ],
)
def test_load_may_return_tables_series_and_generators(tmp_path: Path, returned: str) -> None:
    """Tables, Series and generators are accepted."""
    (tmp_path / "data.py").write_text(f"import numpy\nimport pandas\ndef load():\n    return {returned}\n", encoding="utf-8")
    loaded = examples(tmp_path, 'path = "data.py"')
    assert [(example.x, example.y) for example in loaded[:2]] == [({"a": 0}, "x"), ({"a": 1}, "y")]


def test_a_table_with_its_target_and_the_pairs_of_frameworks(tmp_path: Path) -> None:
    """A lone DataFrame needs [data] target; of (x, y), (x, y), as in Keras' data sets, the second is held out."""
    (tmp_path / "data.py").write_text(
        "import pandas\ndef load():\n    return pandas.DataFrame({'a': [1, 2], 'y': ['no', 'yes']})\n", encoding="utf-8"
    )
    assert [(example.x, example.y) for example in examples(tmp_path, 'path = "data.py"\ntarget = "y"')] == [
        ({"a": 1}, "no"),
        ({"a": 2}, "yes"),
    ]
    (tmp_path / "data.py").write_text(
        "import numpy\ndef load():\n    return (numpy.zeros((3, 2)), numpy.array([0, 1, 0])), (numpy.ones((2, 2)), [1, 0])\n",
        encoding="utf-8",
    )
    loaded = examples(tmp_path, 'path = "data.py"')
    assert [(example.x.tolist(), example.y, example.held) for example in loaded][::3] == [
        ([0.0, 0.0], 0, False),
        ([1.0, 1.0], 1, True),
    ]


def test_images_and_records_are_not_confused(tmp_path: Path) -> None:
    """Records with an image [input], as after `relevo new`, name the section; a path may be a text there."""
    (tmp_path / "relevo.toml").write_text(
        '[model]\nname = "m"\n[data]\npath = "data.py"\n[input]\nkind = "image"\nsize = [8, 8]\n', encoding="utf-8"
    )
    project = read_project(tmp_path)
    (tmp_path / "data.py").write_text("def load():\n    return [{'a': n} for n in range(9)], [0, 1, 2] * 3\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r'\[input\] says kind = "image", and example 1 of .data.py. is a record'):
        check_examples(load_examples(project), project)
    (tmp_path / "data.py").write_text("def load():\n    return ['a.png', 'b.png'], [0, 1]\n", encoding="utf-8")
    with pytest.raises(
        ConfigError, match=r"none of the 2 files that 'data.py' names can be read as a picture; the first is .*a.png"
    ):
        load_examples(project)
    for name in ("a.png", "b.png"):
        Image.new("L", (8, 8)).save(tmp_path / name)
    assert [example.x for example in load_examples(project)] == [(tmp_path / "a.png").read_bytes()] * 2


@pytest.mark.parametrize(
    ("toml", "message"),
    [
        ('[data]\npath = "x"\nheld_out = 25', "held_out is the share"),
        ('[data]\npath = "x"\n[input]\nkind = "image"\nsize = [0, 8]', r"size = \[height, width\] must lie in 1..4096"),
    ],
)
def test_numbers_of_a_project_have_a_range(tmp_path: Path, toml: str, message: str) -> None:
    """Out-of-range numbers are rejected before anything is loaded."""
    (tmp_path / "relevo.toml").write_text(f'[model]\nname = "m"\n{toml}\n', encoding="utf-8")
    with pytest.raises(ConfigError, match=message):
        read_project(tmp_path).image()


def test_a_table_of_another_encoding_is_told(tmp_path: Path) -> None:
    """A wrong encoding gives an error that says how to save the file."""
    (tmp_path / "t.csv").write_bytes("año;y\n1;sí\n".encode("cp1252"))
    with pytest.raises(ConfigError, match="not UTF-8; save it as CSV UTF-8"):
        examples(tmp_path, 'path = "t.csv"\ntarget = "y"')


def make_examples(numbers: range) -> list[Example]:
    return [Example(x=number, y=number % 2, identity=str(number).encode()) for number in numbers]


def test_an_example_never_changes_sides() -> None:
    """New data, or another order, moves no example to the other side of the split."""
    before = {example.identity for example in split_examples(make_examples(range(500)), 0.25)[1]}
    after = {example.identity for example in split_examples(make_examples(range(999, -1, -1)), 0.25)[1]}
    assert before < after
    assert not (after - before) & {example.identity for example in make_examples(range(500))}


def test_the_share_is_kept() -> None:
    """The held-out share is close to the setting, and a larger share includes the smaller one."""
    ids = [str(number).encode() for number in range(20_000)]
    quarter = {identity for identity in ids if held_out(identity, 0.25)}
    assert abs(len(quarter) / len(ids) - 0.25) < 0.015
    assert quarter < {identity for identity in ids if held_out(identity, 0.5)}


def test_too_few_held_out_is_refused() -> None:
    """Too few held-out examples are rejected with a suggestion."""
    with pytest.raises(ConfigError, match="larger \\[data\\] held_out"):
        split_examples(make_examples(range(20)), 0.1)


def test_the_fingerprint_is_of_the_data_alone() -> None:
    """The order does not matter; one example or truth more or less does."""
    data: list[Any] = make_examples(range(10))
    assert fingerprint(data) == fingerprint(data[::-1])
    assert fingerprint(data) != fingerprint(data[1:])
    other = Example(x=0, y=7, identity=b"0")
    assert fingerprint(data) != fingerprint([other, *data[1:]])


def test_groups_stay_on_one_side_of_the_split(tmp_path: Path) -> None:
    """Files with the same match of `together` are on one side of the split, whatever they contain."""
    for name in ("ill", "well"):
        (tmp_path / "data" / name).mkdir(parents=True)
        for number in range(120):
            Image.new("L", (4, 4), number).save(tmp_path / "data" / name / f"person{number // 4}_{name}_{number}.png")
    loaded = examples(tmp_path, 'path = "data"\ntogether = "person[0-9]+"')
    training, held = ({example.group for example in side} for side in split_examples(loaded, 0.3))
    assert len(training) + len(held) == 30
    assert not training & held
    with pytest.raises(ConfigError, match="no regular expression"):
        examples(tmp_path, 'path = "data"\ntogether = "person("')


def test_a_folder_that_is_no_class(tmp_path: Path) -> None:
    """`ignore` names folders to skip."""
    for name in ("cat", "dog", "unsorted"):
        (tmp_path / "data" / name).mkdir(parents=True)
        Image.new("L", (4, 4)).save(tmp_path / "data" / name / "1.png")
    assert [example.y for example in examples(tmp_path, 'path = "data"\nignore = ["unsorted"]')] == ["cat", "dog"]


def test_a_data_set_with_a_test_part_of_its_own(tmp_path: Path) -> None:
    """load() may return which examples are held out; then the hash and the share are not used."""
    (tmp_path / "data.py").write_text(
        "def load():\n"
        "    return {'x': [{'a': n} for n in range(40)], 'y': [0, 1] * 20, 'held_out': [n >= 28 for n in range(40)]}\n",
        encoding="utf-8",
    )
    training, held = split_examples(examples(tmp_path, 'path = "data.py"'), 0.9)
    assert [example.x["a"] for example in held] == list(range(28, 40))
    assert len(training) == 28


def test_groups_of_arrays(tmp_path: Path) -> None:
    """A .npz may hold groups; an unknown name, or a list of another length, is rejected."""
    x, y = np.arange(200.0).reshape(100, 2), np.arange(100) % 2
    np.savez(tmp_path / "a.npz", x=x, y=y, groups=np.arange(100) // 5)
    training, held = ({example.group for example in side} for side in split_examples(examples(tmp_path, 'path = "a.npz"'), 0.5))
    assert not training & held
    np.savez(tmp_path / "a.npz", x=x, y=y, group=np.arange(100))
    with pytest.raises(ConfigError, match="may hold held_out and groups; it holds x, y, group"):
        examples(tmp_path, 'path = "a.npz"')
    np.savez(tmp_path / "a.npz", x=x, y=y, groups=np.arange(99))
    with pytest.raises(ConfigError, match="100 inputs but 100 held_out and 99 groups"):
        examples(tmp_path, 'path = "a.npz"')
