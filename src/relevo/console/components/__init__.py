"""Components that several pages of the console use."""
