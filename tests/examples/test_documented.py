"""A README is read as a script, and an answer is held against what it documents."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from examples.documented import Step, steps, unlike
from examples.running import EXAMPLES

if TYPE_CHECKING:
    from pathlib import Path

_PAGE = """# A page
```sh
make example NAME=x
cd x
relevo train --reason \\
  "a long line"
relevo serve
curl http://127.0.0.1:8000/a
curl https://localhost:8443/b
```
```json
{"a": 1}
```
```text
curl http://127.0.0.1:8000/not-run
```
```json
{"of": "nobody"}
```
```sh
curl http://127.0.0.1:8000/page
```
```html
<h1>
```
"""


def test_sh_blocks_are_the_script(tmp_path: Path) -> None:
    """Lines in order, continued ones joined, what the runner does left out, and each answer with the line above it."""
    (tmp_path / "README.md").write_text(_PAGE, encoding="utf-8")
    script = steps(tmp_path / "README.md")
    assert [step.line.partition(" ")[0] for step in script] == ["relevo", "relevo", "curl", "curl", "curl"]
    assert script[0].line.split() == ["relevo", "train", "--reason", '"a', "long", 'line"']
    assert [step.serves for step in script] == [False, True, False, False, False]
    assert [step.kind for step in script] == ["", "", "", "json", "html"]
    assert json.loads(script[3].answer) == {"a": 1}
    assert [step.at("http://here:1") for step in script[2:4]] == ["curl http://here:1/a", "curl http://here:1/b"]


_ANSWER: dict[str, Any] = {
    "query_id": "a",
    "prediction": "leaves",
    "churn": True,
    "confidence": 0.74,
    "probabilities": [0.26, 0.74],
    "error": None,
}


def _unlike(got: Any, *, exact: bool = True, tolerance: float = 0.05) -> list[str]:
    step = Step(line="curl", answer=json.dumps(_ANSWER), kind="json")
    return unlike(step, got if isinstance(got, str) else json.dumps(got), tolerance=tolerance, exact=exact)


def test_ids_may_differ_and_numbers_a_little() -> None:
    """Another id and a probability within the tolerance are the documented answer."""
    assert _unlike(_ANSWER) == []
    assert _unlike({**_ANSWER, "query_id": "b", "confidence": 0.78, "probabilities": [0.22, 0.78]}) == []


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"prediction": "stays"}, "prediction is 'stays' and not 'leaves'"),
        ({"churn": False}, "churn is False"),
        ({"churn": 1}, "churn is 1 and not of the kind"),
        ({"confidence": 0.85}, "confidence is 0.85"),
        ({"confidence": "0.74"}, "not of the kind"),
        ({"probabilities": [0.26]}, "probabilities"),
        ({"probabilities": [0.26, 0.9]}, "probabilities[1] is 0.9"),
        ({"error": "no"}, "error is 'no'"),
        ({"query_id": None}, "query_id is None"),
        ({"more": 1}, "has the keys"),
    ],
)
def test_every_other_difference_is_told(change: dict[str, Any], told: str) -> None:
    """A word, a truth value, a number too far, a kind, a length, a key more."""
    (problem,) = _unlike(_ANSWER | change)
    assert told in problem


def test_keys_have_their_order() -> None:
    """An answer whose fields come in another order is not the documented one."""
    assert _unlike(dict(reversed(_ANSWER.items())))


def test_a_smaller_model_is_held_to_the_shape_alone() -> None:
    """Where it was trained on less, another answer of the same shape is none the worse, and another shape is."""
    assert _unlike({**_ANSWER, "prediction": "stays", "churn": False, "confidence": 0.9}, exact=False) == []
    assert _unlike({**_ANSWER, "churn": "no"}, exact=False)


def test_what_is_no_json_is_told() -> None:
    """A page where JSON was documented is named as such."""
    assert "no JSON" in _unlike("<html>")[0]


def test_a_page_must_have_the_documented_lines() -> None:
    """Of an html block each line is looked for."""
    step = Step(line="curl", answer="<h1>\n<p>here\n", kind="html")
    assert unlike(step, "<body><h1>x", tolerance=0, exact=True) == ["the page lacks '<p>here'"]


@pytest.mark.parametrize("name", sorted(path.parent.name for path in EXAMPLES.glob("*/check.py")))
def test_both_languages_document_the_same(name: str) -> None:
    """The Spanish README of every example has the English one's commands and answers."""
    script = steps(EXAMPLES / name / "README.md")
    assert any(step.serves for step in script)
    assert any(step.asks and step.kind for step in script)
    assert steps(EXAMPLES / name / "README.es.md") == script


def test_every_example_is_listed() -> None:
    """The page of the examples names each, in both languages."""
    for page, own in (("README.md", "README.md"), ("README.es.md", "README.es.md")):
        text = (EXAMPLES / page).read_text(encoding="utf-8")
        for path in EXAMPLES.glob("*/check.py"):
            assert f"({path.parent.name}/{own})" in text, f"{page} does not link to {path.parent.name}"
