"""Small modules without knowledge of Relevo: files, terminal, CSV, signatures."""
