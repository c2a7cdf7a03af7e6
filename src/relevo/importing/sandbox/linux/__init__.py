"""The walls around a process that opens a stranger's file: standard library and kernel only, nothing to install.

    limits ─ privileges dropped ─ Landlock (files) ─ seccomp (system calls) ─ probe: does each wall hold? ─► strong | partial | none

A wall that the kernel does not offer is left out and reported; the probe alone says how strong the whole is.
"""
