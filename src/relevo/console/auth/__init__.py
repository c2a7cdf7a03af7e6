"""Signing in to the console, and its sessions."""
