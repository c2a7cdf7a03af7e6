"""The signature of a model: its input (`image` or `record`) and its output (scores and labels).

    ImageInput   one image                   ─┐
    RecordInput  named, typed fields         ─┴─► model ─► Output: scores ─► labels

The signature defines the form of the model page, the JSON Schema, the validation and the client's hints.
`preprocessing.py` describes how the input becomes numbers.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

import msgspec


class Task(StrEnum):
    """The kind of prediction."""

    #: One label of a closed list, with a probability for each.
    CLASSIFICATION = "classification"
    #: One real number.
    REGRESSION = "regression"


class FieldKind(StrEnum):
    """The type of one record field."""

    #: A real number, finite.
    NUMBER = "number"
    #: A whole number.
    INTEGER = "integer"
    #: One of a list of texts; the list may be open.
    CATEGORY = "category"
    #: true or false.
    BOOLEAN = "boolean"


class Field(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """One named value of a record."""

    #: Name of the field, as a record gives it.
    name: str
    #: `number`, `integer`, `category` or `boolean`.
    kind: FieldKind
    #: Whether a record without it is refused.
    required: bool = True
    #: Known categories, in the order a form shows them.
    categories: tuple[str, ...] = ()
    #: Whether a category outside the list is refused, or let through as "none of these" (as DictVectorizer does).
    restrict_to_categories: bool = False
    #: Least value that is let through.
    minimum: float | None = None
    #: Largest value that is let through.
    maximum: float | None = None
    #: Unit as a person would write it, for the form: "months", "€".
    unit: str = ""
    #: A value that shows what is meant; a whole number stays one when it is read back.
    example: str | int | float | bool | None = None


class ImageInput(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True, tag="image"):
    """A picture, brought to width × height pixels of one mode before the model sees it."""

    #: Pixels from left to right that the model sees, 1 to 4096.
    width: int
    #: Pixels from top to bottom, 1 to 4096.
    height: int
    #: `L` for grey, `RGB` for colours.
    mode: Literal["L", "RGB"] = "RGB"
    #: What the picture shows, for the page: "a handwritten digit, white on black".
    description: str = ""


#: Policy for a field that is not in the signature.
UnknownFields = Literal["refuse", "ignore"]
#: Policy for a required field that is missing, null or true/false.
MissingFields = Literal["refuse", "zero"]


class RecordInput(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True, tag="record"):
    """One row of named fields."""

    #: The fields, in the order a form shows them.
    fields: tuple[Field, ...]
    #: A field nobody named: refused with the nearest name, or ignored with a warning.
    unknown_fields: UnknownFields = "refuse"
    #: A required field that is missing, null or true/false: refused, or taken as a DictVectorizer does, with a warning: `zero`.
    missing_fields: MissingFields = "refuse"


Input = ImageInput | RecordInput


class Output(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """The scores the model gives, and what they stand for.

    #: What turns raw scores into probabilities; `none` when they are probabilities, or a value, already.
    activation: what turns the raw scores into probabilities; `none` when they are probabilities (or a value) already;
    `percent` when they are hundredths; `clip` when they may go a little beyond 0 and 1.
    A single column with two labels is the probability of the second label.
    """

    #: Name of the ONNX output that holds the scores, shape (n, columns) or (n,).
    name: str
    #: `classification` or `regression`.
    task: Task = Task.CLASSIFICATION
    #: The classes, in the order of the scores; none for a regression.
    labels: tuple[str, ...] = ()
    #: What the model itself calls the classes, in the order of the labels; left out where the labels are those names.
    classes: tuple[str, ...] = ()
    activation: Literal["none", "sigmoid", "softmax", "percent", "clip"] = "none"
    #: Whether each label's probability stands for itself, so that they need not sum to one.
    independent: bool = False
    #: Whether the last column of the scores is the place of the label that the model itself answers, which need not be the most
    #: probable one.
    label_column: bool = False
    #: Unit of a regression's value.
    unit: str = ""
