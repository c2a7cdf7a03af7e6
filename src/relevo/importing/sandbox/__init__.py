"""Sandbox for untrusted model files: an isolated worker process and the byte protocol it speaks."""
