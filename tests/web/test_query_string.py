"""Query strings: unknown parameters are rejected, and no query string causes a 500."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import httpx
import pytest
from tests.support.server import running

if TYPE_CHECKING:
    from collections.abc import Iterator

    from relevo.package.package import Package

#: Pages that are not in the OpenAPI document, and their methods.
_PAGES = [("GET", "/"), ("GET", "/history"), ("GET", "/health"), ("GET", "/docs"), ("POST", "/feedback"), ("POST", "/submit")]


@pytest.fixture(scope="module")
def http(tmp_path_factory: pytest.TempPathFactory, digits_package: Package) -> Iterator[httpx.Client]:
    with running(tmp_path_factory.mktemp("queries"), digits_package) as server, httpx.Client(base_url=server.url, timeout=20) as it:
        yield it


@pytest.fixture(scope="module")
def routes(http: httpx.Client) -> list[tuple[str, str]]:
    """Method and path of every route, with its parameters filled in."""
    paths = http.get("/openapi.json").json()["paths"]
    fillings = {"name": "digits", "model": "digits", "number": "1", "version": "1", "alias": "champion"}
    found = list(_PAGES)
    for path, item in paths.items():
        filled = path
        for hole in [part[1:-1] for part in path.split("/") if part.startswith("{")]:
            filled = filled.replace("{" + hole + "}", fillings.get(hole, "x"))
        found += [(method.upper(), filled) for method in item]
    return found


def test_many_parameters_break_no_route(http: httpx.Client, routes: list[tuple[str, str]]) -> None:
    """Hundreds of parameters give 422 on every route, in the requested language."""
    assert len(routes) > 40
    for query in ("lang=en&" + "&".join(f"a{place}=1" for place in range(400)), "&" * 300, "lang=es" * 1 + "&lang=en" * 150):
        for method, path in routes:
            response = http.request(method, f"{path}?{query}")
            assert response.status_code == 422, (method, path, response.status_code, response.text)


def test_no_query_breaks_a_route(http: httpx.Client, routes: list[tuple[str, str]]) -> None:
    """No query string causes a 500 on any route."""
    draw = random.Random(3)  # noqa: S311 - no secret
    pieces = [
        "lang=",
        "lang",
        "=",
        "&",
        ";",
        "%",
        "%zz",
        "%00",
        "%ff",
        "model=",
        "digits",
        "limit=",
        "-1",
        "9" * 400,
        "a[]=",
        "+",
        "?",
    ]
    for method, path in routes:
        for _ in range(4):
            query = "".join(draw.choice(pieces) for _ in range(draw.randint(1, 30)))
            response = http.request(method, f"{path}?{query}")
            assert response.status_code < 500 or response.status_code == 503, (method, path, query, response.text)


@pytest.mark.parametrize(
    ("method", "path", "wrong", "near"),
    [
        ("POST", "/models/digits/predict", "version", "lang"),
        ("POST", "/predict", "modle", "model"),
        ("POST", "/predict/", "modell", "model"),
        ("GET", "/models", "langs", "lang"),
        ("GET", "/predictions", "limits", "limit"),
        ("GET", "/", "modle", "model"),
        ("GET", "/history", "cursors", "cursor"),
    ],
)
def test_an_unknown_parameter_is_refused_by_name(
    http: httpx.Client, digit_pngs: list[bytes], method: str, path: str, wrong: str, near: str
) -> None:
    """An unknown parameter such as version=99 is an error that names it and the closest known one."""
    sent = {"file": ("a.png", digit_pngs[0])} if method == "POST" else None
    response = http.request(method, f"{path}?{wrong}=99", files=sent)
    assert (response.status_code, response.json()["code"], response.json()["field"]) == (422, "parameter_unknown", wrong), (
        response.text
    )
    if near != "lang":
        assert f"'{near}'" in response.json()["error"]
    assert http.request(method, f"{path}?lang=es", files=sent).status_code == 200
