"""Endpoints of models, versions and aliases. Aliases change under If-Match, so that concurrent changes are detected."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Header, Query, Request, Response
from fastapi import Path as InPath

from relevo.errors import AliasNotFoundError
from relevo.package.documents import takeover_of
from relevo.package.promotion_guard import CHAMPION
from relevo.web.auth.guard import audit_actor, principal_of
from relevo.web.context import app_context
from relevo.web.routes.responses import error_responses
from relevo.web.schemas.common import (
    Alias,
    AliasChange,
    Aliases,
    AliasName,
    AliasUpdate,
    ModelDetail,
    ModelList,
    ModelName,
    ModelSummary,
    VersionNumber,
    VersionSummary,
)

if TYPE_CHECKING:
    from relevo.serve.service import ModelState

router = APIRouter(prefix="/models", tags=["models"])

_ETAG = r'^("\d{1,9}")?$'

Name = Annotated[ModelName, InPath(description="Name of a model")]
Version = Annotated[VersionNumber, InPath(description="Number of a version, from 1")]
AliasPath = Annotated[AliasName, InPath(description="champion, challenger, or a name of your own")]


@router.get("", summary="Every registered model", responses=error_responses(503))
def list_models(request: Request) -> ModelList:
    """Join the registry with what this worker serves."""
    registry, sees, states = app_context(request).registry, principal_of(request).can_see, _states(request)
    return ModelList(
        models=[ModelSummary.from_domain(model, states.get(model.name)) for model in registry.models() if sees(model.name)]
    )


@router.get("/{name}", summary="One model with its versions", responses=error_responses(404, 422, 503))
def get_model(request: Request, name: Name) -> ModelDetail:
    """Raises ModelNotFoundError."""
    registry = app_context(request).registry
    versions = registry.versions(name)
    model = next(model for model in registry.models() if model.name == name)
    summary = ModelSummary.from_domain(model, _states(request).get(name))
    return ModelDetail(**summary.model_dump(), history=[VersionSummary.from_domain(version) for version in versions])


@router.get("/{name}/versions/{version}", summary="One version", responses=error_responses(404, 422, 503))
def get_version(request: Request, name: Name, version: Version) -> VersionSummary:
    """Raises ModelNotFoundError, VersionNotFoundError."""
    return VersionSummary.from_domain(app_context(request).registry.version(name, version))


@router.get("/{name}/aliases", summary="Where the aliases stand, and who moved them", responses=error_responses(404, 422, 503))
def list_aliases(
    request: Request,
    name: Name,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    before: Annotated[int | None, Query(ge=1, le=2**63 - 1, description="The next_before of the page before")] = None,
) -> Aliases:
    """Raises ModelNotFoundError."""
    registry = app_context(request).registry
    changes = registry.alias_history(name, before=before, limit=limit + 1)
    page = changes[:limit]
    return Aliases(
        aliases=registry.aliases(name),
        moves=[AliasChange.from_domain(change) for change in page],
        next_before=page[-1].move if len(changes) > limit else None,
    )


@router.get("/{name}/aliases/{alias}", summary="Where one alias stands", responses=error_responses(404, 422, 503))
def get_alias(request: Request, response: Response, name: Name, alias: AliasPath) -> Alias:
    """Answer with the ETag that a move may be tied to. Raises ModelNotFoundError, AliasNotFoundError."""
    version = app_context(request).registry.aliases(name).get(alias)
    if version is None:
        raise AliasNotFoundError(model=name, alias=alias)
    response.headers["etag"] = f'"{version}"'
    return Alias(alias=alias, version=version)


@router.put(
    "/{name}/aliases/{alias}", summary="Let an alias name another version", responses=error_responses(400, 404, 409, 412, 422, 503)
)
def move_alias(
    request: Request,
    response: Response,
    name: Name,
    alias: AliasPath,
    body: AliasUpdate,
    if_match: Annotated[str, Header(description='The ETag of the alias: "3"', pattern=_ETAG)] = "",
) -> AliasChange:
    """The workers follow within moments.

    Raises ModelNotFoundError, VersionNotFoundError, PreconditionFailedError, PromotionRefusedError.
    """
    context = app_context(request)
    expected = int(if_match.strip('"')) if if_match else None
    reason = body.reason
    promotion = takeover_of(context.registry, context.packages, name, body.version) if alias == CHAMPION else None
    if promotion is not None and expected in (None, promotion.before):
        reason, expected = promotion.allowed(reason, force=body.force), promotion.before
    change = context.registry.move_alias(
        name,
        alias,
        body.version,
        author=principal_of(request).name or "api",
        reason=reason,
        at=context.now(),
        expected=expected,
        by=audit_actor(request),
    )
    response.headers["etag"] = f'"{change.version}"'
    return AliasChange.from_domain(change)


def _states(request: Request) -> dict[str, ModelState]:
    return {state.name: state for state in app_context(request).service.models()}
