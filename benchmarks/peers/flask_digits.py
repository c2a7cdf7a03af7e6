"""Digits on Flask behind gunicorn: multipart, field `file`."""

from __future__ import annotations

from typing import Any

from digit_reader import DigitReader
from flask import Flask, jsonify, request

app = Flask(__name__)
reader = DigitReader()


def predict() -> Any:
    """Answer one picture."""
    return jsonify(reader.answers([request.files["file"].read()])[0])


app.add_url_rule("/predict", view_func=predict, methods=["POST"])
