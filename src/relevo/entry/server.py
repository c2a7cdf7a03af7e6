"""Entry of a whole server as a child: settings on standard input, one line of JSON with the URL on standard output."""

from __future__ import annotations

import json
import sys

from relevo.compose import serve, settings_from_line
from relevo.supervisor import read_greeting


def main() -> int:
    """Serve until told to stop."""
    from relevo.telemetry import configure_logging  # noqa: PLC0415 - loaded once the settings are known

    settings = settings_from_line(read_greeting())
    configure_logging(settings.log_level, settings.log_format)

    def tell(url: str) -> None:
        sys.stdout.write(json.dumps({"url": url}) + "\n")
        sys.stdout.flush()

    return serve(settings, ready=tell)


if __name__ == "__main__":
    sys.exit(main())
