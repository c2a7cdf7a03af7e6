"""Who may do what over HTTP: access rules, sessions, sign-in, CSRF."""
