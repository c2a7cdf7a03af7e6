"""Every route, requested by every kind of caller about every model: the responses match the permission table.

access rules ───────┐
callers ────────────┼─► one request each ─ expected(caller, rule, model) ─► allowed | 401 | 403 | 404
own model, foreign ─┘

The expected permissions are written here a second time, independently of the code. New rules are covered automatically; a rule with
`checked_in_route` needs a request body here, so that its route reaches the check.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from tests.support.web_app import CHURN, DIGITS, FakeService, World, build_world, prediction

from relevo.config import Settings
from relevo.domain import ids
from relevo.domain.access import Action, Role, Scope
from relevo.domain.audit import LOCAL_ACTOR
from relevo.domain.prediction import Label
from relevo.errors import ModelNotFoundError, NotReadyError, PermissionDeniedError
from relevo.telemetry import Telemetry
from relevo.testing import memory_store
from relevo.web.app import build_app
from relevo.web.auth.access_rules import RULES, AccessRule
from relevo.web.auth.sessions import csrf_token_for
from relevo.web.predict.handlers import PredictHandlers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from relevo.serve.service import ModelState
    from relevo.web.context import AppContext

NOW = datetime.now(UTC)
URL = "http://127.0.0.1"
#: Placeholder for a password hash; these tests do not log in by password.
KEPT = "$argon2id$"

_VIEWER = {Action.VIEW_MODEL, Action.PREDICT, Action.READ_PREDICTIONS}
_LABELER = _VIEWER | {Action.LABEL}
_OPERATOR = _LABELER | {Action.READ_INPUTS, Action.REVIEW_LABELS, Action.EXPORT, Action.MANAGE_MODEL, Action.READ_AUDIT}
_ADMIN = _OPERATOR | {Action.TRUST_CODE, Action.ADMINISTER}
ALLOWED = {Role.VIEWER: _VIEWER, Role.LABELER: _LABELER, Role.OPERATOR: _OPERATOR, Role.ADMIN: _ADMIN}
SCOPED = {
    Scope.PREDICT: {Action.PREDICT},
    Scope.LABEL: {Action.LABEL},
    Scope.READ: {Action.VIEW_MODEL, Action.READ_PREDICTIONS, Action.READ_INPUTS, Action.EXPORT, Action.READ_AUDIT},
    Scope.OPERATE: {Action.MANAGE_MODEL, Action.REVIEW_LABELS},
}
EVERYWHERE = {Action.ADMINISTER, Action.TRUST_CODE}
#: Request body that a route needs before it checks the permission; {} where the middleware decides.
BODIES: dict[tuple[str, str], Any] = {
    ("PUT", "/predictions/{query_id}/label"): lambda model: {"value": "7" if model == "digits" else "stays"},
    ("POST", "/predictions/{query_id}/label/{number}/judgement"): lambda _: {"verdict": "accepted"},
    ("POST", "/queue/{query_id}/skip"): lambda _: {},
    ("POST", "/predict"): lambda _: {},
    ("POST", "/users/{user_id}/password"): lambda _: {"password": "short"},
}
#: Routes that may answer 404 after the permission check, since the object is not in the caller's own list.
MAY_LACK = {("POST", "/queue/{query_id}/skip")}
#: Covered by tests of their own: models named in a form or query, and logout.
ELSEWHERE = {("POST", "/predict/"), ("POST", "/submit"), ("POST", "/feedback"), ("POST", "/logout")}
OUT = {"not_known": 401, "not_allowed": 403, "model_not_found": 404, "prediction_not_found": 404, "not_your_page": 403}


@dataclass(frozen=True, kw_only=True)
class Caller:
    """A caller and the grants with which it was created."""

    label: str
    role: Role | None = None
    grants: dict[str, Role] = field(default_factory=dict)
    scopes: tuple[Scope, ...] | None = None  # None: logs in with a session
    only_model: str | None = None

    def may(self, action: Action, model: str | None) -> bool:
        """By the tables above."""
        if self.scopes is not None and not any(action in SCOPED[one] for one in self.scopes):
            return False
        if action in EVERYWHERE:
            return self.role is Role.ADMIN
        if model is None and self.only_model is None:
            return any(action in ALLOWED[role] for role in self.roles(None))
        return self.sees(model or self.only_model or "") and any(
            action in ALLOWED[role] for role in self.roles(model or self.only_model)
        )

    def roles(self, model: str | None) -> list[Role]:
        """All that count there, or anywhere."""
        granted = [role for name, role in self.grants.items() if model in (None, name)]
        return [*granted, *([self.role] if self.role else [])]

    def sees(self, model: str) -> bool:
        """Whether the model exists for them."""
        return self.only_model in (None, model) and bool(self.roles(model))


_EVERY = tuple(Scope)
CALLERS = [
    *(Caller(label=f"{role} everywhere", role=role) for role in Role),
    *(Caller(label=f"{role} of digits", grants={"digits": role}) for role in Role),
    Caller(label="viewer, operator of digits", role=Role.VIEWER, grants={"digits": Role.OPERATOR}),
    Caller(label="nobody's role"),
    *(Caller(label=f"admin's {scope} key", role=Role.ADMIN, scopes=(scope,)) for scope in Scope),
    Caller(label="admin's key for everything", role=Role.ADMIN, scopes=_EVERY),
    Caller(label="admin's key for digits", role=Role.ADMIN, scopes=_EVERY, only_model="digits"),
    Caller(label="viewer's key for everything", role=Role.VIEWER, scopes=_EVERY),
    Caller(label="key for digits of who has churn", grants={"churn": Role.ADMIN}, scopes=_EVERY, only_model="digits"),
    Caller(
        label="key for digits of who looks at it",
        role=Role.VIEWER,
        grants={"churn": Role.ADMIN},
        scopes=_EVERY,
        only_model="digits",
    ),
]


class WaitingService(FakeService):
    """A service that accepts requests up to the point where permissions have been checked."""

    async def predict(self, *_: object, **__: object) -> None:
        """Nobody is refused any more here."""
        raise NotReadyError(reason="it stands in")

    def select_version(self, *_: object) -> None:
        """Nor here."""
        raise NotReadyError(reason="it stands in")

    def router(self, _: str) -> None:
        """No route is in force, so no field of a model bears the name of a selector."""

    def state(self, name: str) -> ModelState | None:
        """What a page shows of a model."""
        return next((one for one in self.models() if one.name == name), None)


@dataclass(frozen=True, kw_only=True)
class House:
    """The app with all callers. Lifetime: the module."""

    world: World
    handlers: PredictHandlers
    headers: dict[str, dict[str, str]]  # caller's label → request headers
    ids: dict[str, str]  # model → a prediction of it
    user: str  # a user who sends no requests
    key: str

    def ask(self, method: str, path: str, caller: Caller | None, **more: Any) -> httpx.Response:
        """One request, as the app answers it."""

        async def go() -> httpx.Response:
            transport = httpx.ASGITransport(self.world.app, raise_app_exceptions=False)
            async with httpx.AsyncClient(
                transport=transport, base_url=URL, headers=self.headers[caller.label] if caller else {}
            ) as client:
                return await client.request(method, path, **more)

        return asyncio.run(go())


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """Two models with one labelled prediction each, and all callers."""
    with memory_store() as store:
        world = build_world(store, [DIGITS, CHURN])
        boss = store.users.add_user("boss", Role.ADMIN, password_hash=KEPT, at=NOW)
        headers = {caller.label: _headers(world, caller) for caller in CALLERS}
        world.context.authenticator.access = store.users.access_snapshot()
        handlers = _handlers(world, tmp_path_factory.mktemp("telemetry"))
        app = build_app(_with(world, handlers))
        yield House(
            world=World(store=store, service=world.service, predict=world.predict, context=world.context, app=app),
            handlers=handlers,
            headers=headers,
            ids={model: _predicted(world, model) for model in ("digits", "churn")},
            user=boss,
            key=store.users.keys.add(boss, "left alone", [Scope.READ], at=NOW).key.id,
        )


def _handlers(world: World, folder: Path) -> PredictHandlers:
    service = WaitingService(manifests=world.service.manifests)
    return PredictHandlers(service, Settings(), Telemetry(folder, "1-a"), world.context.authenticator)  # type: ignore[arg-type]  # stands in


def _with(world: World, handlers: PredictHandlers) -> AppContext:
    return replace(world.context, predict=handlers)


def _headers(world: World, caller: Caller) -> dict[str, str]:
    people = world.store.users
    user = people.add_user(caller.label, caller.role, grants=caller.grants, password_hash=KEPT, at=NOW)
    if caller.scopes is not None:
        key = people.keys.add(user, "test", caller.scopes, model=caller.only_model, at=NOW).secret
        return {"authorization": f"Bearer {key}"}
    token = people.sessions.open(user, at=NOW, by=LOCAL_ACTOR)
    return {"cookie": f"relevo_session={token}", "origin": URL, "x-csrf-token": csrf_token_for(token)}


def _predicted(world: World, model: str) -> str:
    made = prediction(model=model, predicted_label="7" if model == "digits" else "stays", input=f"input of {model}".encode())
    world.store.predictions.insert([made])
    world.store.labels.put(Label(prediction=made.id, value=made.predicted_label or "", author="boss", source="test", at=NOW))
    return ids.text(made.id)


def walked() -> Iterator[tuple[AccessRule, str]]:
    """Every rule with every applicable model."""
    for rule in RULES:
        if (rule.method, rule.path) not in ELSEWHERE:
            for model in ("digits", "churn") if "{" in rule.path and not rule.public else ("digits",):
                yield rule, model


def address(house: House, rule: AccessRule, model: str) -> str:
    """The rule's path with objects of this model."""
    filled = {"name": model, "query_id": house.ids[model], "user_id": house.user, "key_id": "rlv_nobodys"}
    filled |= {"version": "1", "alias": "champion", "number": "1"}
    return rule.path.format_map(defaultdict(lambda: "x", filled))


def expected(caller: Caller | None, rule: AccessRule, model: str) -> set[str]:
    """The allowed error codes; empty if the request must be allowed."""
    if rule.public:
        return set()
    if caller is None:
        return {"not_known"}
    if rule.path == "/users/{user_id}/password":
        # Users may change their own password; this one is another user's.
        return _unless(caller.may(Action.ADMINISTER, None))
    if rule.action is None:
        return set()
    if "{name}" in rule.path or rule.path == "/predict":
        return _unless(caller.may(rule.action, model)) if caller.sees(model) else {"model_not_found", "not_allowed"}
    return _by_object(caller, rule, rule.action, model)


def _by_object(caller: Caller, rule: AccessRule, action: Action, model: str) -> set[str]:
    at_all = caller.may(action, None) or (rule.enough_for_own is not None and caller.may(rule.enough_for_own, None))
    if not at_all or not rule.checked_in_route or "{" not in rule.path:
        return _unless(at_all)
    return _unless(caller.may(action, model)) if caller.sees(model) else {"prediction_not_found"}


def _unless(allowed: bool) -> set[str]:  # noqa: FBT001 - reads as a sentence where it is called
    return set() if allowed else {"not_allowed"}


@pytest.mark.parametrize("caller", [None, *CALLERS], ids=lambda caller: caller.label if caller else "nobody")
def test_everybody_at_every_door(house: House, caller: Caller | None) -> None:
    """Every route answers every caller, for every model, as the table says: allowed, 401, 403 or 404."""
    wrong = []
    for rule, model in walked():
        body = BODIES.get((rule.method, rule.path), lambda _: {})(model)
        sent = {"json": body} if rule.method not in {"GET", "DELETE"} else {}
        response = house.ask(rule.method, address(house, rule, model), caller, **sent)
        kind = response.headers.get("content-type", "")
        code = response.json().get("code", "") if kind == "application/json" and response.status_code >= 400 else ""
        came = {code} & OUT.keys()
        if (rule.method, rule.path) in MAY_LACK and not expected(caller, rule, model):
            came -= {"prediction_not_found"}
        if not (came <= (wanted := expected(caller, rule, model)) and bool(came) == bool(wanted)):
            wrong.append(
                f"{rule.method} {rule.path} of {model}: {response.status_code} {code}, expected {wanted or 'to be let in'}"
            )
        assert not came or response.status_code == OUT[code]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE", "OPTIONS"])
def test_a_path_spelled_otherwise_is_no_way_round(house: House, method: str) -> None:
    """Variants of a path (line ends, blanks, slashes, percent signs) do not bypass the rules."""
    # If the last part is a parameter, another spelling is another value, covered by the same rule.
    for path in {rule.path for rule in RULES if not rule.public and not rule.path.endswith("}")}:
        plain = path.format_map(defaultdict(lambda: "x", {"name": "digits", "version": "1", "alias": "champion"}))
        for other in ("%0A", "%0D%0A", "%20", "%00", ";x", "/"):
            response = house.ask(method, plain + other, CALLERS[0], **({"json": {}} if method == "POST" else {}))
            # Clients normalize "//" to "/"; the other one is a different path.
            known = plain + other in {"//", "/predict/"}
            assert response.status_code in {400, 403, 404, 405, 422} or known, f"{method} {plain}{other}: {response.status_code}"


def test_a_row_by_object_says_what_to_send() -> None:
    """Every rule with `checked_in_route` has a request body in this module or needs none."""
    for rule in RULES:
        if rule.checked_in_route and rule.method not in {"GET", "DELETE"}:
            assert (rule.method, rule.path) in BODIES.keys() | ELSEWHERE, f"say in BODIES what {rule.method} {rule.path} takes"


@pytest.mark.parametrize("caller", [one for one in CALLERS if not one.sees("churn")], ids=lambda caller: caller.label)
def test_what_is_foreign_shows_nowhere(house: House, caller: Caller) -> None:
    """No list, page or document reveals a model that the caller may not see."""
    for rule in RULES:
        if rule.method != "GET" or "{" in rule.path:
            continue
        for query in ("", "?model=churn", "?object=model:churn"):
            response = house.ask("GET", rule.path + query, caller)
            for foreign in (house.ids["churn"], CHURN.description, "monthlycharges", '"churn"', "model=churn"):
                own_words = query and "churn" in foreign and "model" in foreign
                assert own_words or foreign not in response.text, f"{rule.path}{query} tells {foreign}"
    for asked in ("digits", "churn"):
        response = house.ask("POST", "/submit", caller, params={"model": asked}, data={"tenure": "x"})
        for foreign in (CHURN.description, "monthlycharges", "model=churn"):
            assert foreign not in response.text, f"/submit about {asked} tells {foreign}"


FORMS: dict[str, Callable[[str, House], dict[str, Any]]] = {
    "/predict/": lambda model, _: {"data": {"model": model, "tenure": "1"}},
    "/submit": lambda model, _: {"params": {"model": model}, "data": {"tenure": "1"}},
    "/feedback": lambda model, house: {"data": {"query_id": house.ids[model], "value": "7" if model == "digits" else "stays"}},
}


@pytest.mark.parametrize("path", FORMS)
@pytest.mark.parametrize("caller", [None, *CALLERS], ids=lambda caller: caller.label if caller else "nobody")
def test_everybody_with_every_form(house: House, caller: Caller | None, path: str) -> None:
    """A model named in a form or in the query is checked against the caller's permissions."""
    action = Action.LABEL if path == "/feedback" else Action.PREDICT
    for model in ("digits", "churn"):
        response = house.ask("POST", path, caller, **FORMS[path](model, house))
        if caller is None:
            assert response.status_code == 401
        elif not caller.may(action, None):
            assert response.status_code == 403
        elif not caller.sees(model):
            assert response.status_code == 404
        elif not caller.may(action, model):
            assert response.status_code == 403
        else:
            assert response.status_code == (200 if path == "/feedback" else 503), response.text


@pytest.mark.parametrize(("csrf", "status"), [(None, 403), ("0" * 64, 403), ("own", 503)])
def test_the_form_of_the_page_carries_the_token(house: House, csrf: str | None, status: int) -> None:
    """Without the CSRF header, /submit requires the CSRF token in the form."""
    caller = CALLERS[0]
    headers = dict(house.headers[caller.label])
    own = headers.pop("x-csrf-token")
    sent = {"tenure": "1", **({"csrf": own if csrf == "own" else csrf} if csrf else {})}
    bare = replace(house, headers={caller.label: headers})
    assert bare.ask("POST", "/submit", caller, params={"model": "churn"}, data=sent).status_code == status


@pytest.mark.parametrize("caller", [one for one in CALLERS if one.scopes], ids=lambda caller: caller.label)
def test_the_short_way_asks_the_same(house: House, caller: Caller) -> None:
    """The fast path applies the same permissions."""
    headers = [(name.encode(), value.encode()) for name, value in house.headers[caller.label].items()]
    headers.append((b"content-type", b"application/json"))
    for model in ("digits", "churn"):
        for url, asked in ((f"/models/{model}/predict", model), ("/predict", "digits")):
            # Permitted requests reach the service, which has no model.
            wanted = AttributeError if caller.may(Action.PREDICT, asked) else (PermissionDeniedError, ModelNotFoundError)
            with pytest.raises(wanted):
                house.handlers.try_submit(url.encode(), headers, b"{}", None)
