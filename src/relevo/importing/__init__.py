"""A file from outside becomes a package: format detection, sandbox, conversion, proof."""
