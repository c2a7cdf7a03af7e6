"""Every address, and what it takes to ask there; one that stands in no row is nobody's. A test walks all routes by this table.

(method, path) ─ rule_of ─► Rule: public | whoever is known | an action, on the model that the path names
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from relevo.domain.access import Action


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessRule:
    """What it takes to ask at one address."""

    method: str
    path: str  # {name} is a model; other {words} are anything without a slash, unless `deep`
    action: Action | None  # None: nothing
    by_object: bool = False  # the model is told by what the path names; the route holds it against the principal
    known: bool = False  # whoever is known may ask, whatever their role
    form: bool = False  # a page of ours posts here without a script: the session's token may stand in the form, and the route looks
    deep: bool = False  # what stands last may hold slashes, as somebody else's names may
    own: Action | None = None  # enough for what is one's own; the route looks whose it is

    @property
    def public(self) -> bool:
        """Whether anybody may ask."""
        return self.action is None and not self.known


def _rule(method: str, path: str, action: Action | None, **more: Any) -> AccessRule:
    return AccessRule(method=method, path=path, action=action, **more)


RULES = (
    # What tells nothing of anybody: whether the process lives, and the files of the pages.
    _rule("GET", "/health/live", None),
    _rule("GET", "/health/ready", None),
    _rule("GET", "/static/{address}", None),
    _rule("GET", "/favicon.ico", None),
    # Who one is. Signing in asks for name and password, and its form for the browser that was given it.
    _rule("GET", "/login", None),
    _rule("POST", "/login", None),
    _rule("POST", "/logout", None, known=True, form=True),
    _rule("GET", "/me", None, known=True),
    _rule("GET", "/users", Action.ADMINISTER),
    _rule("POST", "/users", Action.ADMINISTER),
    _rule("GET", "/users/{user_id}", Action.ADMINISTER),
    _rule("PATCH", "/users/{user_id}", Action.ADMINISTER),
    _rule("POST", "/users/{user_id}/password", None, known=True),
    _rule("GET", "/keys", Action.ADMINISTER),
    _rule("POST", "/keys", Action.ADMINISTER),
    _rule("DELETE", "/keys/{key_id}", Action.ADMINISTER),
    _rule("POST", "/keys/{key_id}/rotate", Action.ADMINISTER),
    _rule("GET", "/login/oidc", None),
    _rule("GET", "/login/oidc/callback", None),
    _rule("GET", "/login/elsewhere", None),
    # A console is known by its mark, and by a code that was sent to it.
    _rule("GET", "/login/console", None),
    _rule("POST", "/login/console", None),
    # Asking a model. Which one may stand in the body, so the handlers hold it against the principal.
    _rule("POST", "/predict", Action.PREDICT, by_object=True),
    _rule("POST", "/predict/", Action.PREDICT, by_object=True),
    _rule("POST", "/submit", Action.PREDICT, by_object=True, form=True),
    _rule("POST", "/models/{name}/predict", Action.PREDICT),
    _rule("GET", "/", Action.LOOK, by_object=True),
    _rule("POST", "/feedback", Action.LABEL, by_object=True, form=True),
    _rule("GET", "/docs", Action.LOOK, by_object=True),
    _rule("GET", "/openapi.json", Action.LOOK, by_object=True),
    _rule("GET", "/history", Action.SEE_ANSWERS, by_object=True),
    _rule("GET", "/health", Action.LOOK, by_object=True),
    _rule("GET", "/metrics", Action.LOOK),
    _rule("GET", "/models", Action.LOOK, by_object=True),
    _rule("GET", "/models/{name}", Action.LOOK),
    _rule("GET", "/models/{name}/versions/{version}", Action.LOOK),
    _rule("GET", "/models/{name}/versions/{version}/card", Action.LOOK),
    _rule("GET", "/models/{name}/versions/{version}/metrics", Action.LOOK),
    _rule("GET", "/models/{name}/versions/{version}/manifest", Action.LOOK),
    _rule("GET", "/models/{name}/versions/{version}/figures", Action.LOOK),
    _rule("GET", "/models/{name}/versions/{version}/figures/{file}", Action.LOOK),
    _rule("GET", "/models/{name}/traffic", Action.LOOK),
    _rule("GET", "/models/{name}/aliases", Action.LOOK),
    _rule("GET", "/models/{name}/aliases/{alias}", Action.LOOK),
    _rule("PUT", "/models/{name}/aliases/{alias}", Action.OPERATE),
    _rule("DELETE", "/subjects/{subject}", Action.ADMINISTER, deep=True),
    _rule("GET", "/audit", Action.READ_AUDIT, by_object=True),
    _rule("GET", "/audit/sign-ins", Action.ADMINISTER),
    _rule("GET", "/predictions", Action.SEE_ANSWERS, by_object=True),
    _rule("GET", "/predictions/{query_id}", Action.SEE_ANSWERS, by_object=True),
    _rule("GET", "/predictions/{query_id}/input", Action.SEE_INPUTS, by_object=True, own=Action.LABEL),
    _rule("GET", "/predictions/{query_id}/label", Action.SEE_ANSWERS, by_object=True),
    _rule("PUT", "/predictions/{query_id}/label", Action.LABEL, by_object=True),
    _rule("POST", "/predictions/{query_id}/label/{number}/judgement", Action.JUDGE_LABELS, by_object=True),
    _rule("GET", "/models/{name}/cleaning", Action.EXPORT),
    _rule("GET", "/predictions.csv", Action.EXPORT, by_object=True),
    _rule("GET", "/labels", Action.SEE_ANSWERS, by_object=True),
    _rule("GET", "/queue", Action.LABEL, by_object=True),
    _rule("POST", "/queue/{query_id}/skip", Action.LABEL, by_object=True),
)


def _pattern(rule: AccessRule) -> re.Pattern[str]:
    parts = re.split(r"\{(\w+)\}", rule.path)
    some = ".+" if rule.deep else "[^/]+"
    return re.compile("".join(re.escape(part) if at % 2 == 0 else f"(?P<{part}>{some})" for at, part in enumerate(parts)))


_PATTERNS = tuple((rule, _pattern(rule)) for rule in RULES)


@lru_cache(maxsize=4096)
def find_rule(method: str, path: str) -> tuple[AccessRule | None, str | None]:
    """The rule of this address, and the model that it names. HEAD is asked what GET is. path: decoded, as ASGI has it."""
    asked = "GET" if method == "HEAD" else method
    for rule, pattern in _PATTERNS:
        if rule.method == asked and (found := pattern.fullmatch(path)):
            return rule, found.groupdict().get("name")
    return None, None


def allowed_methods(path: str) -> list[str]:
    """Every method that some row has for this path."""
    return sorted({rule.method for rule, pattern in _PATTERNS if pattern.fullmatch(path)})
