"""Users, grants, API keys, sessions, and login through an OpenID Connect provider."""
