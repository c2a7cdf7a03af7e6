"""Process isolation for the sandbox worker, with the standard library and the kernel only; nothing to install.

    rlimits ─ drop privileges ─ Landlock (files) ─ seccomp (system calls) ─ self-test of every layer ─► strong | partial | none

A layer that the kernel does not offer is skipped and reported. The isolation level comes from the self-test alone.
"""
