"""Parts of console pages that several pages show."""
