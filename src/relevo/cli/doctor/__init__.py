"""What `relevo doctor` checks."""
