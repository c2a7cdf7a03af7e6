"""The examples of a project, from every kind of place, and the split that never changes its mind."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from relevo.errors import ConfigError
from relevo.project.config import read_project
from relevo.project.data import Example, load_examples, refuse_unfit
from relevo.project.holdout import held_out
from relevo.project.training import fingerprint, split_examples

if TYPE_CHECKING:
    from pathlib import Path

    from relevo.project.image_folder import Unreadable


def examples(folder: Path, data: str) -> list[Example]:
    (folder / "relevo.toml").write_text(f'[model]\nname = "m"\n[data]\n{data}\n', encoding="utf-8")
    return load_examples(read_project(folder))


def test_a_folder_for_each_class(tmp_path: Path) -> None:
    """Pictures come as their files' bytes, the folder's name is the truth, other files are left alone."""
    for name, grey in (("cat", 10), ("dog", 200)):
        (tmp_path / "data" / name).mkdir(parents=True)
        Image.new("L", (4, 4), grey).save(tmp_path / "data" / name / "1.PNG")
    (tmp_path / "data" / "cat" / "notes.txt").write_text("no picture", encoding="utf-8")
    (tmp_path / "data" / ".cache").mkdir()
    found = examples(tmp_path, 'path = "data"')
    assert [one.y for one in found] == ["cat", "dog"]
    with Image.open(io.BytesIO(found[1].x)) as picture:
        assert picture.getpixel((0, 0)) == 200
    assert found[0].identity == found[0].x


def test_a_table(tmp_path: Path) -> None:
    """Columns are whole numbers, numbers or text as their cells are; empty cells are None; some columns are not shown."""
    (tmp_path / "t.csv").write_text("id,age,pay,city,gone\na,41,1.5,Rome,yes\nb,,NA,,no\n", encoding="utf-8-sig")
    found = examples(tmp_path, 'path = "t.csv"\ntarget = "gone"\nidentity = "id"')
    assert [one.x for one in found] == [{"age": 41, "pay": 1.5, "city": "Rome"}, {"age": None, "pay": None, "city": None}]
    assert [one.y for one in found] == ["yes", "no"]
    assert [one.identity for one in found] == [b"a", b"b"]
    assert examples(tmp_path, 'path = "t.csv"\ntarget = "gone"\nignore = ["id", "city"]')[0].x == {"age": 41, "pay": 1.5}


def test_blank_lines_and_separators_at_the_end_are_nothing(tmp_path: Path) -> None:
    """What spreadsheets leave behind, blank lines and a separator at the end of each, is no row and no column."""
    (tmp_path / "t.csv").write_text("a,y,\n1,no,\n\n,,\n2,yes,\n", encoding="utf-8")
    found = examples(tmp_path, 'path = "t.csv"\ntarget = "y"')
    assert [(one.x, one.y) for one in found] == [({"a": 1}, "no"), ({"a": 2}, "yes")]


@pytest.mark.parametrize("separator", [";", "\t"])
def test_a_table_may_be_of_any_country(tmp_path: Path, separator: str) -> None:
    """Semicolons and tabs separate, as the head line tells; texts may hold commas."""
    text = 'a|b|"c, or d"|y\n1|x, y|2.5|no\n2||3|yes\n'
    (tmp_path / "t.csv").write_text(text.replace("|", separator), encoding="utf-8-sig")
    found = examples(tmp_path, 'path = "t.csv"\ntarget = "y"')
    assert [one.x for one in found] == [{"a": 1, "b": "x, y", "c, or d": 2.5}, {"a": 2, "b": None, "c, or d": 3.0}]
    assert [one.y for one in found] == ["no", "yes"]


def test_arrays(tmp_path: Path) -> None:
    """X and y of a .npz become one example a row; pickled objects inside are never loaded."""
    np.savez(tmp_path / "a.npz", x=np.arange(6.0).reshape(3, 2), y=np.array([1, 0, 1]))
    found = examples(tmp_path, 'path = "a.npz"')
    assert [one.y for one in found] == [1, 0, 1]
    assert found[2].x.tolist() == [4.0, 5.0]
    np.savez(tmp_path / "a.npz", x=np.array([{"evil": 1}], dtype=object), y=np.array([1]))
    with pytest.raises(ConfigError, match=r"'a.npz' holds objects, and no arrays of numbers or texts"):
        examples(tmp_path, 'path = "a.npz"')
    (tmp_path / "a.npz").write_text("no archive", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"'a.npz' is no .npz that NumPy wrote"):
        examples(tmp_path, 'path = "a.npz"')


def test_a_program(tmp_path: Path) -> None:
    """load() gives x and y of any kind."""
    (tmp_path / "data.py").write_text("def load():\n    return [{'a': 1}, {'a': 2}], ['x', 'y']\n", encoding="utf-8")
    assert [(one.x, one.y) for one in examples(tmp_path, 'path = "data.py"')] == [({"a": 1}, "x"), ({"a": 2}, "y")]


def test_a_program_that_gives_paths(tmp_path: Path) -> None:
    """load() may give the paths of pictures; each is read, and one that cannot be is told and left out with its truth."""
    Image.new("L", (4, 4), 7).save(tmp_path / "good.png")
    (tmp_path / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\n but no more")
    (tmp_path / "data.py").write_text(
        "from pathlib import Path\n"
        "def load():\n"
        "    return [Path(__file__).with_name(name) for name in ('bad.png', 'good.png')], ['bad', 'good']\n",
        encoding="utf-8",
    )
    (tmp_path / "relevo.toml").write_text('[model]\nname = "m"\n[data]\npath = "data.py"\n', encoding="utf-8")
    left: list[Unreadable] = []
    found = load_examples(read_project(tmp_path), left.append)
    assert [(one.x, one.y) for one in found] == [((tmp_path / "good.png").read_bytes(), "good")]
    assert [one.path.name for one in left] == ["bad.png"]


@pytest.mark.parametrize(
    ("files", "data", "told"),
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
def test_what_cannot_be_used_is_named(tmp_path: Path, files: dict[str, str], data: str, told: str) -> None:
    """Every way of giving nothing usable says what is missing."""
    for name, text in files.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=told):
        examples(tmp_path, data)


_Y = "['x', 'y'] * 50"


@pytest.mark.parametrize(
    ("returned", "told"),
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
def test_what_load_returns_is_refused_in_our_words(tmp_path: Path, returned: str, told: str) -> None:
    """Whatever a first load() returns, the sentence says what came and what is expected, and never what Python said of it."""
    (tmp_path / "data.py").write_text(f"import numpy\nimport pandas\ndef load():\n    return {returned}\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=told):
        refuse_unfit(examples(tmp_path, 'path = "data.py"'), read_project(tmp_path))


@pytest.mark.parametrize(
    "returned",
    [
        "pandas.DataFrame({'a': range(100)}), pandas.Series(['x', 'y'] * 50)",
        "pandas.DataFrame({'a': range(100)}), pandas.DataFrame({'y': ['x', 'y'] * 50})",
        "({'a': n} for n in range(100)), ('xy'[n % 2] for n in range(100))",
        "{'x': [pandas.Series({'a': n}) for n in range(100)], 'y': numpy.array(['x', 'y'] * 50)}",
    ],
)
def test_load_may_return_what_notebooks_hold(tmp_path: Path, returned: str) -> None:
    """Tables, Series and generators are the records and truths they hold."""
    (tmp_path / "data.py").write_text(f"import numpy\nimport pandas\ndef load():\n    return {returned}\n", encoding="utf-8")
    found = examples(tmp_path, 'path = "data.py"')
    assert [(one.x, one.y) for one in found[:2]] == [({"a": 0}, "x"), ({"a": 1}, "y")]


def test_a_table_with_its_target_and_the_pairs_of_frameworks(tmp_path: Path) -> None:
    """A DataFrame alone needs [data] target; of (x, y), (x, y), as Keras' data sets are, the second is held out."""
    (tmp_path / "data.py").write_text(
        "import pandas\ndef load():\n    return pandas.DataFrame({'a': [1, 2], 'y': ['no', 'yes']})\n", encoding="utf-8"
    )
    assert [(one.x, one.y) for one in examples(tmp_path, 'path = "data.py"\ntarget = "y"')] == [({"a": 1}, "no"), ({"a": 2}, "yes")]
    (tmp_path / "data.py").write_text(
        "import numpy\ndef load():\n    return (numpy.zeros((3, 2)), numpy.array([0, 1, 0])), (numpy.ones((2, 2)), [1, 0])\n",
        encoding="utf-8",
    )
    found = examples(tmp_path, 'path = "data.py"')
    assert [(one.x.tolist(), one.y, one.held) for one in found][::3] == [([0.0, 0.0], 0, False), ([1.0, 1.0], 1, True)]


def test_pictures_and_records_are_not_taken_for_each_other(tmp_path: Path) -> None:
    """Records while [input] still says pictures, as after `relevo new`, name the section; a path may be a text there."""
    (tmp_path / "relevo.toml").write_text(
        '[model]\nname = "m"\n[data]\npath = "data.py"\n[input]\nkind = "image"\nsize = [8, 8]\n', encoding="utf-8"
    )
    project = read_project(tmp_path)
    (tmp_path / "data.py").write_text("def load():\n    return [{'a': n} for n in range(9)], [0, 1, 2] * 3\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r'\[input\] says kind = "image", and example 1 of .data.py. is a record'):
        refuse_unfit(load_examples(project), project)
    (tmp_path / "data.py").write_text("def load():\n    return ['a.png', 'b.png'], [0, 1]\n", encoding="utf-8")
    with pytest.raises(
        ConfigError, match=r"none of the 2 files that 'data.py' names can be read as a picture; the first is .*a.png"
    ):
        load_examples(project)
    for name in ("a.png", "b.png"):
        Image.new("L", (8, 8)).save(tmp_path / name)
    assert [one.x for one in load_examples(project)] == [(tmp_path / "a.png").read_bytes()] * 2


@pytest.mark.parametrize(
    ("toml", "told"),
    [
        ('[data]\npath = "x"\nheld_out = 25', "held_out is the share"),
        ('[data]\npath = "x"\n[input]\nkind = "image"\nsize = [0, 8]', r"size = \[height, width\] must lie in 1..4096"),
    ],
)
def test_numbers_of_a_project_have_a_range(tmp_path: Path, toml: str, told: str) -> None:
    """What cannot be is told before anything is loaded."""
    (tmp_path / "relevo.toml").write_text(f'[model]\nname = "m"\n{toml}\n', encoding="utf-8")
    with pytest.raises(ConfigError, match=told):
        read_project(tmp_path).image()


def test_a_table_of_another_encoding_is_told(tmp_path: Path) -> None:
    """What an older spreadsheet writes is no internal failure; the sentence says how to save it."""
    (tmp_path / "t.csv").write_bytes("año;y\n1;sí\n".encode("cp1252"))
    with pytest.raises(ConfigError, match="not UTF-8; save it as CSV UTF-8"):
        examples(tmp_path, 'path = "t.csv"\ntarget = "y"')


def made(numbers: range) -> list[Example]:
    return [Example(x=number, y=number % 2, identity=str(number).encode()) for number in numbers]


def test_an_example_never_changes_sides() -> None:
    """Adding data, or its order, moves nobody from the held-out side to the other or back."""
    before = {one.identity for one in split_examples(made(range(500)), 0.25)[1]}
    after = {one.identity for one in split_examples(made(range(999, -1, -1)), 0.25)[1]}
    assert before < after
    assert not (after - before) & {one.identity for one in made(range(500))}


def test_the_share_is_kept() -> None:
    """About as many are held out as was asked for, and a larger share keeps those of the smaller."""
    ids = [str(number).encode() for number in range(20_000)]
    quarter = {one for one in ids if held_out(one, 0.25)}
    assert abs(len(quarter) / len(ids) - 0.25) < 0.015
    assert quarter < {one for one in ids if held_out(one, 0.5)}


def test_too_few_held_out_is_refused() -> None:
    """A handful measures nothing; the way out is told."""
    with pytest.raises(ConfigError, match="larger \\[data\\] held_out"):
        split_examples(made(range(20)), 0.1)


def test_the_fingerprint_is_of_the_data_alone() -> None:
    """The order does not matter; an example or a truth more or less does."""
    data: list[Any] = made(range(10))
    assert fingerprint(data) == fingerprint(data[::-1])
    assert fingerprint(data) != fingerprint(data[1:])
    other = Example(x=0, y=7, identity=b"0")
    assert fingerprint(data) != fingerprint([other, *data[1:]])


def test_what_belongs_together_stays_together(tmp_path: Path) -> None:
    """Files whose names match `together` alike are on one side of the split, whatever is in them."""
    for name in ("ill", "well"):
        (tmp_path / "data" / name).mkdir(parents=True)
        for number in range(120):
            Image.new("L", (4, 4), number).save(tmp_path / "data" / name / f"person{number // 4}_{name}_{number}.png")
    found = examples(tmp_path, 'path = "data"\ntogether = "person[0-9]+"')
    learn, held = ({one.group for one in side} for side in split_examples(found, 0.3))
    assert len(learn) + len(held) == 30
    assert not learn & held
    with pytest.raises(ConfigError, match="no regular expression"):
        examples(tmp_path, 'path = "data"\ntogether = "person("')


def test_a_folder_that_is_no_class(tmp_path: Path) -> None:
    """`ignore` names folders to be left alone."""
    for name in ("cat", "dog", "unsorted"):
        (tmp_path / "data" / name).mkdir(parents=True)
        Image.new("L", (4, 4)).save(tmp_path / "data" / name / "1.png")
    assert [one.y for one in examples(tmp_path, 'path = "data"\nignore = ["unsorted"]')] == ["cat", "dog"]


def test_a_data_set_with_a_test_part_of_its_own(tmp_path: Path) -> None:
    """load() may say which examples are held out; then no hash decides, whatever the share."""
    (tmp_path / "data.py").write_text(
        "def load():\n"
        "    return {'x': [{'a': n} for n in range(40)], 'y': [0, 1] * 20, 'held_out': [n >= 28 for n in range(40)]}\n",
        encoding="utf-8",
    )
    learn, held = split_examples(examples(tmp_path, 'path = "data.py"'), 0.9)
    assert [one.x["a"] for one in held] == list(range(28, 40))
    assert len(learn) == 28


def test_groups_of_arrays(tmp_path: Path) -> None:
    """A .npz may hold groups; a name that is none of the four, or a list of another length, is refused."""
    x, y = np.arange(200.0).reshape(100, 2), np.arange(100) % 2
    np.savez(tmp_path / "a.npz", x=x, y=y, groups=np.arange(100) // 5)
    learn, held = ({one.group for one in side} for side in split_examples(examples(tmp_path, 'path = "a.npz"'), 0.5))
    assert not learn & held
    np.savez(tmp_path / "a.npz", x=x, y=y, group=np.arange(100))
    with pytest.raises(ConfigError, match="may hold held_out and groups; it holds x, y, group"):
        examples(tmp_path, 'path = "a.npz"')
    np.savez(tmp_path / "a.npz", x=x, y=y, groups=np.arange(99))
    with pytest.raises(ConfigError, match="100 inputs but 100 held_out and 99 groups"):
        examples(tmp_path, 'path = "a.npz"')
