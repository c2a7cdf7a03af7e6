"""Commands print in the configured language; output for programs is the same in every language."""

from __future__ import annotations

import io
import json
import re
import socket
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from relevo.cli.app import run
from relevo.cli.options import confirm
from relevo.cli.translate import day, detect_language, moment, phrase
from relevo.i18n.catalog import LANGUAGES

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from relevo.package.package import Package


@pytest.fixture(autouse=True)
def _english_after(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    yield
    monkeypatch.setenv("RELEVO_LANGUAGE", "en")
    run(["--version"])


@pytest.mark.parametrize(
    ("environ", "toml", "spoken"),
    [
        ({}, None, "en"),
        ({"LANG": "es_MX.UTF-8"}, None, "es"),
        ({"LANG": "es_ES", "LC_ALL": "C"}, None, "en"),
        ({"LANG": "de_DE.UTF-8"}, None, "en"),
        ({"LANG": "en_GB.UTF-8"}, "es", "es"),
        ({"LANG": "es_ES", "RELEVO_LANGUAGE": "en"}, "es", "en"),
        ({"RELEVO_LANGUAGE": "klingon"}, None, "en"),
    ],
)
def test_the_nearest_wish_wins(environ: dict[str, str], toml: str | None, spoken: str, tmp_path: Path) -> None:
    """RELEVO_LANGUAGE comes before relevo.toml, and that before the locale."""
    file = tmp_path / "relevo.toml"
    if toml:
        file.write_text(f'[server]\nlanguage = "{toml}"\n')
    assert detect_language(environ, file) == spoken


def test_a_broken_setting_does_not_keep_the_help_away(tmp_path: Path) -> None:
    """An invalid relevo.toml does not prevent the help."""
    (tmp_path / "relevo.toml").write_text("[server\n")
    assert detect_language({"LANG": "es_ES"}, tmp_path / "relevo.toml") == "es"
    assert run(["--help"]) == 0


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--help"], ["Uso: relevo [OPCIONES]", "Órdenes:", "Sirve los modelos registrados"]),
        (["serve", "--help"], ["--home CARPETA", "[por defecto: 127.0.0.1]", "Mostrar esta ayuda y terminar."]),
        (["history", "--help"], ["[variable: RELEVO_URL]", "[por defecto: 20; 1<=x<=1000]", "--limit NÚMERO"]),
        (["label", "import", "--help"], ["ARCHIVO.csv Un CSV", "--rejects ARCHIVO.csv"]),
        (["import", "--help"], ["ARCHIVO Un archivo de modelo", "--accept NÚMERO", "[por defecto: --register]"]),
    ],
)
def test_help_is_in_the_language(
    arguments: list[str], told: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Headings, commands, options, defaults and metavars are translated, and English again afterwards."""
    monkeypatch.setenv("RELEVO_LANGUAGE", "es")
    assert run(arguments) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert [text for text in told if text not in shown] == []
    monkeypatch.setenv("RELEVO_LANGUAGE", "en")
    assert run(arguments) == 0
    assert "Usage: relevo" in capsys.readouterr().out


def test_help_shows_a_value_or_none(capsys: pytest.CaptureFixture[str]) -> None:
    """Defaults, also 0, are shown; no default shows none; Python type names do not appear."""
    assert run(["serve", "--help"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "default: none" not in shown
    assert "[default: 0.0]" in shown
    for command in ("import", "predict", "verify", "models alias", "user role"):
        run([*command.split(), "--help"])
        assert not re.findall(r"<[a-z]", capsys.readouterr().out)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["serve", "--nope"], "No existe la opción: --nope"),
        (["predic"], "¿Quiso decir 'predict'?"),
        (["predict"], "Falta el argumento 'ENTRADA...'."),
        (["history", "--limit", "many"], "debe ser un número entero"),
        (["predict", "{}", "--port", "0"], "No existe la opción: --port"),
        (["import", "model.onnx", "--size", "big", "--name", "m"], "debe tener la forma 28x28"),
    ],
)
def test_wrong_usage_is_told_in_the_language(
    arguments: list[str], told: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Usage errors and the hint to the help are translated; the exit code is the same in every language."""
    monkeypatch.setenv("RELEVO_LANGUAGE", "es")
    assert run(arguments) == 2
    shown = capsys.readouterr().err
    assert told in shown
    assert "--help' para ver la ayuda" in shown


def test_an_error_is_said_with_its_code(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Error message and reason are translated; the code is not."""
    monkeypatch.setenv("RELEVO_LANGUAGE", "es")
    assert run(["serve", "--port", "x"]) == 1
    output = "error: La línea de órdenes: el ajuste 'port' espera un número entero de 0 a 65 535. (wrong_setting)\n"
    assert capsys.readouterr().err == output


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["predict", '{"a" 1}'], "JSON válido: faltan los dos puntos ':': línea 1, columna 6 (carácter 5). (bad_json)"),
        (
            ["models", "--home", "broken"],
            "relevo.toml no se puede leer: falta un valor, o no es válido (línea 2, columna 8). (config_",
        ),
    ],
)
def test_what_a_library_says_of_a_text_is_said(
    arguments: list[str], told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Syntax errors of Python's JSON and TOML parsers are translated, with their position."""
    monkeypatch.setenv("RELEVO_LANGUAGE", "es")
    if "broken" in arguments:
        (tmp_path / "relevo.toml").write_text("[server]\nport = \n")
    assert run(arguments) == 1
    assert told in capsys.readouterr().err


def test_doctor_says_what_the_system_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """OS errors in doctor's findings are translated."""
    monkeypatch.setenv("RELEVO_LANGUAGE", "es")
    (tmp_path / "file").write_text("no folder", encoding="utf-8")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert run(["doctor", "--home", str(tmp_path / "file" / "home"), "--port", str(port)]) == 1
    shown = capsys.readouterr().out
    assert f"en {tmp_path / 'file' / 'home'} no se puede escribir: no es una carpeta" in shown
    assert f"127.0.0.1:{port} no se puede usar: la dirección ya está en uso" in shown


def test_a_package_is_shown_in_the_language(
    churn_package: Package, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Field types are named as in the model card."""
    churn_package.write(tmp_path / "churn")
    monkeypatch.setenv("RELEVO_LANGUAGE", "es")
    assert run(["inspect", "churn"]) == 0
    shown = capsys.readouterr().out
    assert "(número)" in shown
    assert not re.search(r"\((number|integer|category|boolean)\)", shown)


def test_json_has_no_language(relevo_run: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path) -> None:
    """--json is the same in every language; findings for people are translated."""
    result = [json.loads(relevo_run("doctor", "--json", cwd=tmp_path, RELEVO_LANGUAGE=one).stdout) for one in LANGUAGES]
    assert [one["subject"] for one in result[0]] == [one["subject"] for one in result[1]]
    assert [one["message"] for one in result[0] if one["subject"] == "telemetry"] == ["off: nothing leaves this machine"]
    assert result[0][0] == result[1][0]
    assert "apagada: nada sale de esta máquina" in relevo_run("doctor", cwd=tmp_path, LANG="es_ES.UTF-8", LC_ALL="").stdout


@pytest.mark.parametrize(
    ("language", "answer", "meant"),
    [
        ("es", "sí", True),
        ("es", "S", True),
        ("es", "yes", True),
        ("es", "no", False),
        ("en", "y", True),
        ("en", "sí", False),
        ("en", "", False),
    ],
)
def test_yes_is_understood_in_the_language(
    language: str,
    answer: str,
    meant: bool,  # noqa: FBT001 - a drawn value
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A prompt accepts yes in the current language and in English; anything else is a no."""
    monkeypatch.setenv("RELEVO_LANGUAGE", language)
    run(["--version"])
    monkeypatch.setattr("sys.stdin", io.StringIO(answer + "\n"))
    assert confirm(phrase("Erase everything about '{subject}'? It cannot be brought back.", subject="x")) is meant
    assert ("¿Borrar todo" if language == "es" else "Erase everything") in capsys.readouterr().err


def test_times_are_those_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Times and dates are local, with time zone and summer time."""
    at = datetime(2026, 7, 31, 23, 30, tzinfo=UTC)
    with monkeypatch.context() as patched:
        patched.setenv("TZ", "Europe/Madrid")
        time.tzset()
        output = moment(at), moment("2026-01-31T12:00:00Z", seconds=True), day(at)
    time.tzset()
    assert output == ("1 Aug 2026, 01:30 CEST", "31 Jan 2026, 13:00:00 CET", "1 Aug 2026")
