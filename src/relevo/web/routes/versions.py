"""Endpoints of one version's package: card, metrics, manifest, figures."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Request, Response
from fastapi import Path as InPath

from relevo.package.documents import PackageDocuments
from relevo.web.context import app_context
from relevo.web.request_info import language_of
from relevo.web.routes.models import Name, Version  # noqa: TC001 - FastAPI reads the annotations when it runs
from relevo.web.routes.responses import error_responses
from relevo.web.schemas.common import Figures

router = APIRouter(prefix="/models/{name}/versions/{version}", tags=["models"])

_ERRORS = error_responses(404, 422, 503)
#: A package never changes, so its files may be cached; privately, since access is restricted.
_CACHE_HEADERS = {"cache-control": "private, max-age=3600"}

FileName = Annotated[str, InPath(description="Name of a picture: confusion.png", max_length=100)]


def _file_response(kind: str, schema: dict[str, Any]) -> dict[int | str, dict[str, Any]]:
    return {200: {"content": {kind: {"schema": schema}}}, **_ERRORS}


@router.get(
    "/card",
    summary="The model card, as Markdown",
    response_class=Response,
    responses=_file_response("text/markdown", {"type": "string"}),
)
def get_card(request: Request, name: Name, version: Version) -> Response:
    """Relevo wrote it, and it comes in the caller's language; or who packed the model did, in their own words.

    Raises ModelNotFoundError, VersionNotFoundError, NotInPackageError.
    """
    card = _documents(request, name, version).card(language_of(request.scope, app_context(request).settings.language))
    headers = _CACHE_HEADERS | {"vary": "accept-language, cookie"}
    return Response(card, media_type="text/markdown; charset=utf-8", headers=headers)


@router.get("/metrics", summary="What was measured on held-out rows", responses=_ERRORS)
def get_metrics(request: Request, response: Response, name: Name, version: Version) -> dict[str, Any]:
    """Accuracy with its interval, per-class figures, confusion, calibration; empty when no truth was given.

    Raises ModelNotFoundError, VersionNotFoundError, NotInPackageError.
    """
    response.headers.update(_CACHE_HEADERS)
    return _documents(request, name, version).metrics()


@router.get(
    "/manifest",
    summary="The manifest: signature, decision, lineage, digests",
    response_class=Response,
    responses=_file_response("application/json", {"type": "object"}),
)
def get_manifest(request: Request, name: Name, version: Version) -> Response:
    """Byte for byte, so that its SHA-256 is the version's digest. Raises ModelNotFoundError, VersionNotFoundError, NotInPackageError."""
    return Response(
        _documents(request, name, version).manifest_bytes, headers={"content-type": "application/json", **_CACHE_HEADERS}
    )


@router.get("/figures", summary="Names of the pictures in the package", responses=_ERRORS)
def list_figures(request: Request, name: Name, version: Version) -> Figures:
    """Raises ModelNotFoundError, VersionNotFoundError, NotInPackageError."""
    return Figures(figures=_documents(request, name, version).figures())


@router.get(
    "/figures/{file}",
    summary="One picture of the package, a PNG",
    response_class=Response,
    responses=_file_response("image/png", {"type": "string", "format": "binary"}),
)
def get_figure(request: Request, name: Name, version: Version, file: FileName) -> Response:
    """A download, never shown by the browser as a page. Raises ModelNotFoundError, VersionNotFoundError, NotInPackageError."""
    content = _documents(request, name, version).figure(file)
    return Response(
        content, media_type="image/png", headers={"content-disposition": f'attachment; filename="{file}"', **_CACHE_HEADERS}
    )


def _documents(request: Request, name: str, version: int) -> PackageDocuments:
    context = app_context(request)
    return PackageDocuments(context.packages, context.registry.version(name, version).digest)
