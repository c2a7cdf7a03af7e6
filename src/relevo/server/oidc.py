"""Creates the OIDC provider from the settings. Its library is an optional dependency and is loaded only when OIDC is configured.

oidc_issuer, oidc_client_id, oidc_client_secret ─► Provider | None
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from relevo.errors import ConfigError

if TYPE_CHECKING:
    from relevo.config import Settings
    from relevo.web.auth.oidc import Provider


def oidc_provider(settings: Settings) -> Provider | None:
    """The identity provider; None when none is configured. Sends no request. Raises ConfigError."""
    if not settings.oidc_issuer:
        return None
    try:
        from relevo.web.auth.oidc import Provider, is_https_or_local
    except ImportError as cause:
        raise ConfigError(reason="oidc_issuer needs `pip install 'relevo[oidc]'`") from cause
    if not is_https_or_local(settings.oidc_issuer) or not settings.oidc_issuer.isascii():
        raise ConfigError(reason="oidc_issuer must begin with https://")
    if not settings.oidc_client_id:
        raise ConfigError(reason="oidc_issuer needs oidc_client_id, the name of this server there")
    return Provider(settings)
