"""Permissions of roles, grants and API keys."""

from __future__ import annotations

import hashlib

import pytest

from relevo.domain.access import ANONYMOUS_ADMIN, AccessSnapshot, Action, ApiKeyEntry, AuthMethod, Principal, Role, Scope

ROLES = (Role.VIEWER, Role.LABELER, Role.OPERATOR, Role.ADMIN)
#: Who may, in the order of ROLES.
TABLE = {
    Action.VIEW_MODEL: "yyyy",
    Action.PREDICT: "yyyy",
    Action.READ_PREDICTIONS: "yyyy",
    Action.LABEL: "nyyy",
    Action.READ_INPUTS: "nnyy",
    Action.REVIEW_LABELS: "nnyy",
    Action.EXPORT: "nnyy",
    Action.MANAGE_MODEL: "nnyy",
    Action.READ_AUDIT: "nnyy",
    Action.TRUST_CODE: "nnny",
    Action.ADMINISTER: "nnny",
}


def principal(role: Role | None = None, **facts: object) -> Principal:
    return Principal(id="a" * 32, name="ana", auth_method=AuthMethod.SESSION, role=role, **facts)  # type: ignore[arg-type]  # facts of a principal


@pytest.mark.parametrize("action", Action)
def test_each_role_may_what_the_table_says(action: Action) -> None:
    """Every action has a minimum role; a role below it is denied."""
    assert [principal(role).can(action) for role in ROLES] == [allowed == "y" for allowed in TABLE[action]]


def test_a_grant_raises_one_model_and_administers_none() -> None:
    """A grant applies to its model only, and an admin of one model cannot administer."""
    viewer = principal(Role.VIEWER, grants={"churn": Role.ADMIN})
    assert viewer.can(Action.MANAGE_MODEL, "churn")
    assert not viewer.can(Action.MANAGE_MODEL, "digits")
    assert not viewer.can(Action.ADMINISTER, "churn")
    assert not viewer.can(Action.ADMINISTER)


def test_models_of_others_do_not_exist() -> None:
    """A model is invisible without a role or a grant for it."""
    guest = principal(grants={"churn": Role.VIEWER})
    assert guest.can_see("churn")
    assert not guest.can_see("digits")
    assert not guest.can(Action.PREDICT, "digits")


@pytest.mark.parametrize("scope", Scope)
def test_a_key_never_administers(scope: Scope) -> None:
    """Not even an admin's key may manage users or trust a file."""
    key = principal(Role.ADMIN, key="rlv_1", scopes=frozenset({scope}))
    assert not key.can(Action.ADMINISTER)
    assert not key.can(Action.TRUST_CODE)


def test_a_predict_key_does_nothing_else() -> None:
    """A predict key may predict with its model, and not read the history."""
    key = principal(Role.ADMIN, key="rlv_1", scopes=frozenset({Scope.PREDICT}), restricted_to="churn")
    assert [action for action in Action if key.can(action, "churn")] == [Action.PREDICT]
    assert not key.can(Action.PREDICT, "digits")


def test_a_roll_knows_keys_until_they_end() -> None:
    """A key is valid until its expiry time, exclusive; an unknown key never is."""
    owner = principal(Role.VIEWER)
    digest = hashlib.sha256(b"rlv_secret").hexdigest()
    snapshot = AccessSnapshot(revision=1, no_users=False, keys={digest: ApiKeyEntry(principal=owner, expires_us=100)})
    assert snapshot.find_key(b"rlv_secret", 99) is owner
    assert snapshot.find_key(b"rlv_secret", 100) is None
    assert snapshot.find_key(b"rlv_other", 0) is None


def test_everybody_may_all_while_nobody_is_a_user() -> None:
    """Without users, every action is allowed."""
    assert all(ANONYMOUS_ADMIN.can(action, "any") for action in Action)


def test_a_key_of_one_model_is_nowhere_else() -> None:
    """A key for one model ignores its owner's other roles, also where no model is named, as in a list."""
    grants = {"churn": Role.ADMIN}
    assert principal(Role.VIEWER, grants=grants).can(Action.READ_AUDIT)
    assert not principal(Role.VIEWER, grants=grants, restricted_to="digits").can(Action.READ_AUDIT)
    assert principal(Role.VIEWER, grants=grants, restricted_to="churn").can(Action.READ_AUDIT)
    assert not principal(grants={"churn": Role.ADMIN}, restricted_to="digits").can(Action.VIEW_MODEL)


@pytest.mark.parametrize("role", [None, *ROLES])
@pytest.mark.parametrize("granted", [None, *ROLES])
def test_the_higher_of_role_and_grant_counts(role: Role | None, granted: Role | None) -> None:
    """For the model of a grant the higher of role and grant applies; for other models, the role."""
    caller = principal(role, grants={"churn": granted} if granted else {})
    higher = max((r for r in (role, granted) if r), key=ROLES.index, default=None)
    assert (caller.role_for("churn"), caller.role_for("digits"), caller.role_for(None)) == (higher, role, higher)
