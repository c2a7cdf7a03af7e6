"""Where strangers' files are opened: a process with walls around it, and the plain bytes that go in and come out."""
