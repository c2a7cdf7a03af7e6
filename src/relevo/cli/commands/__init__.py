"""The commands of `relevo`, one file per group; each has `register`, which adds its commands to the Typer application."""
