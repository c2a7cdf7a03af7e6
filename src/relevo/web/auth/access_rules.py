"""Access rules by route: the action that each path requires. A route without a rule is denied. A test checks that all routes have one.

(method, path) ─ find_rule ─► AccessRule: public | any authenticated user | an action, on the model that the path names
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from relevo.domain.access import Action


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessRule:
    """The permission that one route requires."""

    method: str
    path: str  # {name} is a model; other parameters match anything without a slash, see `allow_slashes`
    action: Action | None  # None: no permission needed
    checked_in_route: bool = False  # the path names an object of a model; the route checks the permission for that model
    any_user: bool = False  # any authenticated user, whatever their role
    csrf_in_form: bool = False  # a page posts here without JavaScript: the CSRF token may be in the form, and the route checks it
    allow_slashes: bool = False  # the last parameter may contain slashes
    enough_for_own: Action | None = None  # sufficient for the user's own objects; the route checks ownership

    @property
    def public(self) -> bool:
        """Whether no authentication is needed."""
        return self.action is None and not self.any_user


def _rule(method: str, path: str, action: Action | None, **options: Any) -> AccessRule:
    return AccessRule(method=method, path=path, action=action, **options)


RULES = (
    # Public: liveness, readiness, static files.
    _rule("GET", "/health/live", None),
    _rule("GET", "/health/ready", None),
    _rule("GET", "/static/{address}", None),
    _rule("GET", "/favicon.ico", None),
    # Login, users and keys. Login checks the password itself, and its form a CSRF cookie.
    _rule("GET", "/login", None),
    _rule("POST", "/login", None),
    _rule("POST", "/logout", None, any_user=True, csrf_in_form=True),
    _rule("GET", "/me", None, any_user=True),
    _rule("GET", "/users", Action.ADMINISTER),
    _rule("POST", "/users", Action.ADMINISTER),
    _rule("GET", "/users/{user_id}", Action.ADMINISTER),
    _rule("PATCH", "/users/{user_id}", Action.ADMINISTER),
    _rule("POST", "/users/{user_id}/password", None, any_user=True),
    _rule("GET", "/keys", Action.ADMINISTER),
    _rule("POST", "/keys", Action.ADMINISTER),
    _rule("DELETE", "/keys/{key_id}", Action.ADMINISTER),
    _rule("POST", "/keys/{key_id}/rotate", Action.ADMINISTER),
    _rule("GET", "/login/oidc", None),
    _rule("GET", "/login/oidc/callback", None),
    _rule("GET", "/login/elsewhere", None),
    # Console login: authenticated by a signature, and by a login code.
    _rule("GET", "/login/console", None),
    _rule("POST", "/login/console", None),
    # Predict. The body may name the model, so the handlers check the permission.
    _rule("POST", "/predict", Action.PREDICT, checked_in_route=True),
    _rule("POST", "/predict/", Action.PREDICT, checked_in_route=True),
    _rule("POST", "/submit", Action.PREDICT, checked_in_route=True, csrf_in_form=True),
    _rule("POST", "/models/{name}/predict", Action.PREDICT),
    _rule("GET", "/", Action.VIEW_MODEL, checked_in_route=True),
    _rule("POST", "/feedback", Action.LABEL, checked_in_route=True, csrf_in_form=True),
    _rule("GET", "/docs", Action.VIEW_MODEL, checked_in_route=True),
    _rule("GET", "/openapi.json", Action.VIEW_MODEL, checked_in_route=True),
    _rule("GET", "/history", Action.READ_PREDICTIONS, checked_in_route=True),
    _rule("GET", "/health", Action.VIEW_MODEL, checked_in_route=True),
    _rule("GET", "/metrics", Action.VIEW_MODEL),
    _rule("GET", "/models", Action.VIEW_MODEL, checked_in_route=True),
    _rule("GET", "/models/{name}", Action.VIEW_MODEL),
    _rule("GET", "/models/{name}/versions/{version}", Action.VIEW_MODEL),
    _rule("GET", "/models/{name}/versions/{version}/card", Action.VIEW_MODEL),
    _rule("GET", "/models/{name}/versions/{version}/metrics", Action.VIEW_MODEL),
    _rule("GET", "/models/{name}/versions/{version}/manifest", Action.VIEW_MODEL),
    _rule("GET", "/models/{name}/versions/{version}/figures", Action.VIEW_MODEL),
    _rule("GET", "/models/{name}/versions/{version}/figures/{file}", Action.VIEW_MODEL),
    _rule("GET", "/models/{name}/traffic", Action.VIEW_MODEL),
    _rule("GET", "/models/{name}/aliases", Action.VIEW_MODEL),
    _rule("GET", "/models/{name}/aliases/{alias}", Action.VIEW_MODEL),
    _rule("PUT", "/models/{name}/aliases/{alias}", Action.MANAGE_MODEL),
    _rule("DELETE", "/subjects/{subject}", Action.ADMINISTER, allow_slashes=True),
    _rule("GET", "/audit", Action.READ_AUDIT, checked_in_route=True),
    _rule("GET", "/audit/sign-ins", Action.ADMINISTER),
    _rule("GET", "/predictions", Action.READ_PREDICTIONS, checked_in_route=True),
    _rule("GET", "/predictions/{query_id}", Action.READ_PREDICTIONS, checked_in_route=True),
    _rule("GET", "/predictions/{query_id}/input", Action.READ_INPUTS, checked_in_route=True, enough_for_own=Action.LABEL),
    _rule("GET", "/predictions/{query_id}/label", Action.READ_PREDICTIONS, checked_in_route=True),
    _rule("PUT", "/predictions/{query_id}/label", Action.LABEL, checked_in_route=True),
    _rule("POST", "/predictions/{query_id}/label/{number}/judgement", Action.REVIEW_LABELS, checked_in_route=True),
    _rule("GET", "/models/{name}/cleaning", Action.EXPORT),
    _rule("GET", "/predictions.csv", Action.EXPORT, checked_in_route=True),
    _rule("GET", "/labels", Action.READ_PREDICTIONS, checked_in_route=True),
    _rule("GET", "/queue", Action.LABEL, checked_in_route=True),
    _rule("POST", "/queue/{query_id}/skip", Action.LABEL, checked_in_route=True),
)


def _pattern(rule: AccessRule) -> re.Pattern[str]:
    parts = re.split(r"\{(\w+)\}", rule.path)
    value = ".+" if rule.allow_slashes else "[^/]+"
    return re.compile("".join(re.escape(part) if index % 2 == 0 else f"(?P<{part}>{value})" for index, part in enumerate(parts)))


_PATTERNS = tuple((rule, _pattern(rule)) for rule in RULES)


@lru_cache(maxsize=4096)
def find_rule(method: str, path: str) -> tuple[AccessRule | None, str | None]:
    """The rule of a path, and the model that the path names. HEAD has the rule of GET. path: decoded, as in the ASGI scope."""
    rule_method = "GET" if method == "HEAD" else method
    for rule, pattern in _PATTERNS:
        if rule.method == rule_method and (match := pattern.fullmatch(path)):
            return rule, match.groupdict().get("name")
    return None, None


def allowed_methods(path: str) -> list[str]:
    """All methods for which this path has a rule."""
    return sorted({rule.method for rule, pattern in _PATTERNS if pattern.fullmatch(path)})
