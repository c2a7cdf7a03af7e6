"""Users, keys, sessions, and sign-in through an identity provider."""
