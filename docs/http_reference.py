"""The table of routes on the HTTP page: every access rule with its required permission and the summary of the endpoint.

web/auth/access_rules.RULES ─ method, path, action ─┐
domain/access ─ minimum role, scopes of keys ───────┼─► | address | who may | what it does |
endpoints ─ summaries ──────────────────────────────┘
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
from typing import TYPE_CHECKING

from fastapi import APIRouter

from relevo.domain.access import MIN_ROLE, SCOPE_ACTIONS, Action
from relevo.web import routes
from relevo.web.auth.access_rules import RULES, AccessRule

if TYPE_CHECKING:
    from collections.abc import Callable

#: Routes that are handled outside the web framework and have no endpoint.
_WITHOUT_ENDPOINT = {
    ("POST", "/predict"): "Ask the default model",
    ("POST", "/predict/"): "Ask the model that the form names; the short form of answer",
    ("POST", "/submit"): "Ask, and be answered by a page",
    ("POST", "/models/{name}/predict"): "Ask this model",
}
#: A path parameter; its name does not matter for comparing paths.
_PLACE = re.compile(r"\{\w+\}")


def table(say: Callable[[str], str]) -> list[str]:
    """The rows of the table, translated by `say`."""
    told = _sentences()
    lines = [f"| {say('address')} | {say('who may')} | {say('what it does')} |", "|---|---|---|"]
    for rule in RULES:
        what = told.get((rule.method, _PLACE.sub("{}", rule.path)), "")
        lines.append(f"| `{rule.method} {rule.path}` | {_who(rule, say)} | {say(what)} |")
    return lines


def _sentences() -> dict[tuple[str, str], str]:
    found = {(method, _PLACE.sub("{}", path)): text for (method, path), text in _WITHOUT_ENDPOINT.items()}
    for room in pkgutil.iter_modules(routes.__path__):
        router = getattr(importlib.import_module(f"{routes.__name__}.{room.name}"), "router", None)
        for route in router.routes if isinstance(router, APIRouter) else ():
            for method in getattr(route, "methods", None) or ():
                told = _PLACE.sub("{}", re.sub(r":\w+\}", "}", getattr(route, "path", "")))
                found[method, told] = _told(route)
    return found


def _told(route: object) -> str:
    """The OpenAPI summary; for pages, which have none, the first sentence of the docstring."""
    text = getattr(route, "summary", None) or inspect.getdoc(getattr(route, "endpoint", None)) or ""
    return re.split(r"(?<=[.:;])\s", " ".join(text.split("\n\n")[0].split()), maxsplit=1)[0].rstrip(";:")


def _who(rule: AccessRule, say: Callable[[str], str]) -> str:
    if rule.public:
        return say("anybody")
    if rule.action is None:
        return say("whoever is known")
    roles = [f"{MIN_ROLE[rule.action].value}{_scopes(rule.action, say)}"]
    if rule.enough_for_own is not None:
        roles.append(f"{MIN_ROLE[rule.enough_for_own].value}, {say('of their own')}")
    return f" {say('or')} ".join(roles)


def _scopes(action: Action, say: Callable[[str], str]) -> str:
    names = [scope.value for scope, actions in SCOPE_ACTIONS.items() if action in actions]
    return "".join(f" · {say('key')} `{name}`" for name in names)
