"""The registry on both databases: versions are numbered once, alias moves are recorded."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from relevo.domain.prediction import Arm
from relevo.domain.routing import RouteTarget, TrafficSplit
from relevo.errors import AliasNotFoundError, FieldTypeError, ModelNotFoundError, PreconditionFailedError, VersionNotFoundError
from relevo.store.audit.log import AuditLog
from relevo.store.db.engine import connect
from relevo.store.registry import Registry, Version

if TYPE_CHECKING:
    from sqlalchemy import Engine

AT = datetime(2026, 3, 1, 12, 30, 0, 123456, tzinfo=UTC)


def digest(number: int) -> str:
    return f"{number:064x}"


def add(registry: Registry, number: int = 1, model: str = "digits") -> Version:
    return registry.add(model=model, digest=digest(number), summary={"labels": ["0", "1"]}, author="ana", at=AT)


def move(registry: Registry, version: int, *, alias: str = "champion", model: str = "digits", expected: int | None = None) -> int:
    return registry.move_alias(model, alias, version, author="ana", reason="better", at=AT, expected=expected).serial


class TestRegistry:
    """The contract of the registry."""

    def test_versions_are_numbered(self, registry: Registry) -> None:
        """Each new package is the next version of its model and keeps its metadata."""
        assert [add(registry, 1).number, add(registry, 2).number, add(registry, 3, "churn").number] == [1, 2, 1]
        assert registry.version("digits", 2) == Version(
            model="digits", number=2, digest=digest(2), summary={"labels": ["0", "1"]}, author="ana", at=AT
        )
        assert [version.number for version in registry.versions("digits")] == [2, 1]

    def test_same_package_is_same_version(self, registry: Registry) -> None:
        """A package registered twice is one version, with its first author and time."""
        first = add(registry)
        again = registry.add(model="digits", digest=digest(1), summary={}, author="eva", at=AT + timedelta(days=1))
        assert again == first
        assert len(registry.versions("digits")) == 1

    def test_synonyms_belong_to_the_version(self, registry: Registry) -> None:
        """Synonyms belong to the version, can be added, and are part of the champion's route."""
        plain = add(registry, 2)
        for names in (["clf.pickle"], [], ["model.pkl"], ["clf.pickle"]):
            version = registry.add(model="digits", digest=digest(1), summary={}, author="ana", at=AT, synonyms=names)
        assert (version.number, version.synonyms, plain.synonyms) == (2, ("clf.pickle", "model.pkl"), ())
        assert registry.version("digits", 2) == version
        for number, called in ((2, version.synonyms), (1, ())):
            move(registry, number)
            assert registry.routes()[0].synonyms == called

    def test_adding_moves_no_alias(self, registry: Registry) -> None:
        """A new version serves no requests until an alias is moved to it."""
        add(registry)
        assert registry.aliases("digits") == {}
        assert registry.routes() == []

    def test_models_are_listed(self, registry: Registry) -> None:
        """The list contains every model with its versions and aliases, by name."""
        for number, model in ((1, "digits"), (2, "digits"), (1, "churn")):
            add(registry, number, model)
        move(registry, 2)
        move(registry, 1, alias="challenger")
        listed = [(model.name, model.versions, model.aliases, model.at) for model in registry.models()]
        assert listed == [("churn", 1, {}, AT), ("digits", 2, {"champion": 2, "challenger": 1}, AT)]

    def test_moves_are_recorded(self, registry: Registry) -> None:
        """Every move is recorded with versions, author, reason and time, newest first."""
        add(registry, 1)
        add(registry, 2)
        move(registry, 1)
        madrid = timezone(timedelta(hours=2))
        made = registry.move_alias(
            "digits", "champion", 2, author="eva", reason="fewer errors", at=AT.astimezone(madrid), expected=1
        )
        assert (made.previous, made.version, made.serial, made.author, made.reason, made.at) == (1, 2, 2, "eva", "fewer errors", AT)
        assert [(step.previous, step.version) for step in registry.alias_history("digits")] == [(1, 2), (None, 1)]

    def test_a_repeated_move_changes_nothing(self, registry: Registry) -> None:
        """A repeated move adds no second one."""
        add(registry)
        assert [move(registry, 1), move(registry, 1)] == [1, 1]
        assert len(registry.alias_history("digits")) == 1

    @pytest.mark.parametrize("expected", [0, 2])
    def test_an_outdated_expectation_is_rejected(self, registry: Registry, expected: int) -> None:
        """A move with an outdated expected version is rejected, and nothing moves."""
        add(registry, 1)
        add(registry, 2)
        move(registry, 1, expected=0)
        with pytest.raises(PreconditionFailedError, match="'champion' stands at version 1"):
            move(registry, 2, expected=expected)
        assert registry.aliases("digits") == {"champion": 1}

    def test_one_of_many_concurrent_moves_succeeds(self, registry: Registry) -> None:
        """Of eight concurrent moves with the same expected version one succeeds and seven are rejected."""
        for number in range(1, 10):
            add(registry, number)
        move(registry, 9)

        def attempt(version: int) -> bool:
            try:
                move(registry, version, expected=9)
            except PreconditionFailedError:
                return False
            return True

        with ThreadPoolExecutor(4) as pool:
            assert sum(pool.map(attempt, range(1, 9))) == 1
        assert len(registry.alias_history("digits")) == 2

    def test_concurrent_packages_get_different_numbers(self, registry: Registry, url: str) -> None:
        """Packages registered concurrently from two engines get the numbers 1 to 8, each once."""
        other = connect(url)
        with ThreadPoolExecutor(4) as pool:
            numbers = pool.map(lambda n: add(registry if n % 2 else Registry(other, AuditLog(b"key")), n).number, range(8))
            assert sorted(numbers) == list(range(1, 9))
        other.dispose()

    def test_routes_follow_the_champion(self, registry: Registry) -> None:
        """A route contains the champion's package only, and its epoch is the number of champion moves."""
        add(registry, 1)
        add(registry, 2)
        add(registry, 3, "churn")
        for version in (1, 2, 1):
            move(registry, version)
        move(registry, 2, alias="challenger")
        leg = RouteTarget(version=1, digest=digest(1), arm=Arm.CHAMPION, weight=1.0)
        assert registry.routes() == [TrafficSplit(model="digits", epoch=3, targets=(leg,), salt="digits")]

    def test_routes_are_in_registration_order(self, registry: Registry) -> None:
        """Routes are in the order of registration, whatever the models' names."""
        for minutes, model in enumerate(("zebra", "ant", "moth")):
            at = AT + timedelta(minutes=minutes)
            registry.add(model=model, digest=digest(minutes + 1), summary={}, author="ana", at=at)
            move(registry, 1, model=model)
        assert [route.model for route in registry.routes()] == ["zebra", "ant", "moth"]

    def test_an_alias_is_resolved(self, registry: Registry) -> None:
        """An alias resolves to its version."""
        version = add(registry)
        move(registry, 1)
        assert registry.resolve("digits", "champion") == version
        with pytest.raises(AliasNotFoundError, match="challenger"):
            registry.resolve("digits", "challenger")

    def test_unknown_models_and_versions_are_different_errors(self, registry: Registry) -> None:
        """An unknown model and an unknown version are different errors, for reads and moves."""
        add(registry)
        for read in (registry.versions, registry.aliases, registry.alias_history):
            with pytest.raises(ModelNotFoundError, match="'none'"):
                read("none")
        for model, error in (("none", ModelNotFoundError), ("digits", VersionNotFoundError)):
            with pytest.raises(error):
                registry.version(model, 2)
            with pytest.raises(error):
                move(registry, 2, model=model)
        assert registry.aliases("digits") == {}

    @pytest.mark.parametrize("name", ["", "Digits", "-digits", "a" * 65, "di gits", "dígitos", "digits\n", "../x"])
    def test_invalid_names_are_rejected(self, registry: Registry, name: str) -> None:
        """Names unsuitable for a path or URL are rejected for models and aliases, and not repeated in the error."""
        with pytest.raises(FieldTypeError) as refused:
            add(registry, model=name)
        assert refused.value.field == "model"
        add(registry)
        with pytest.raises(FieldTypeError) as refused:
            move(registry, 1, alias=name)
        assert refused.value.field == "alias"

    @pytest.mark.parametrize("number", [0, -1, 2**31, 2**63, 10**30])
    def test_impossible_versions_are_not_found(self, registry: Registry, number: int) -> None:
        """A number that no version can have is not found, however large."""
        add(registry)
        with pytest.raises(VersionNotFoundError):
            registry.version("digits", number)
        with pytest.raises(VersionNotFoundError):
            move(registry, number)

    @pytest.mark.parametrize("name", ["a\x00b", "\ud800", "ñ" * 10_000, "' OR 1=1 --"])
    def test_impossible_names_are_not_found(self, registry: Registry, name: str) -> None:
        """A name that no model can have is not found."""
        for read in (registry.versions, registry.aliases, registry.alias_history):
            with pytest.raises(ModelNotFoundError):
                read(name)
        with pytest.raises(ModelNotFoundError):
            move(registry, 1, model=name)
        add(registry)
        with pytest.raises(AliasNotFoundError):
            registry.resolve("digits", name)

    @pytest.mark.parametrize("act", ["UPDATE alias_moves SET version = 1", "DELETE FROM alias_moves"])
    def test_moves_cannot_be_changed_by_sql(self, registry: Registry, engine: Engine, act: str) -> None:
        """Alias moves cannot be updated or deleted, not even by SQL."""
        add(registry)
        move(registry, 1)
        with pytest.raises(DBAPIError, match="append-only"), engine.begin() as connection:
            connection.execute(text(act))
        assert len(registry.alias_history("digits")) == 1

    def test_unstorable_characters_are_replaced(self, registry: Registry) -> None:
        """Reasons may be in any script; characters that no database stores are replaced."""
        add(registry)
        made = registry.move_alias("digits", "champion", 1, author="Begoña 🦉", reason="a\x00b\ud800", at=AT)
        assert (made.author, made.reason[:3]) == ("Begoña 🦉", "a\ufffdb")

    def test_naive_times_are_refused(self, registry: Registry) -> None:
        """A time without a zone is a caller's error and writes nothing."""
        with pytest.raises(ValueError, match="time zone"):
            registry.add(model="digits", digest=digest(1), summary={}, author="ana", at=AT.replace(tzinfo=None))
        assert registry.models() == []
