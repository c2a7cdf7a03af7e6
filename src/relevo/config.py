"""Settings: name, type, default, range and help text of each; an unknown key is an error at startup.

    flags  >  RELEVO_* variables  >  relevo.toml [server]  >  default      the first source with a value wins
       └────────────┴───────────────────────┴─ Setting.parse ─► Settings (frozen)

The command line flags, the reference in docs/ and the tests are generated from the fields of `Settings`.
The other sections of relevo.toml describe a project; `relevo.project` reads them.
"""

from __future__ import annotations

import difflib
import ipaddress
import os
import tomllib
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from relevo.errors import ConfigError, InvalidSettingError, UnknownSettingError
from relevo.util.files import read_error_text, read_plain_text

if TYPE_CHECKING:
    from collections.abc import Mapping

PREFIX = "RELEVO_"
#: Variables with the prefix that are not settings: the client's URL, key and trusted certificates, the master key, test data and
#: iterations.
OTHER_VARIABLES = frozenset(
    {"RELEVO_URL", "RELEVO_KEY", "RELEVO_CA", "RELEVO_MASTER_KEY", "RELEVO_TEST_DATA", "RELEVO_CHAOS_ROUNDS"}
)
_MAX_TOML_BYTES = 2**20
#: Sections of relevo.toml that this release knows.
SECTIONS = ("model", "data", "input", "decision", "answer", "server")
_DEFAULT_HOME = Path(".relevo")


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """Definition of one setting. Lifetime: the process."""

    name: str
    kind: type
    default: Any
    help: str
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[str, ...] = ()

    @property
    def variable(self) -> str:
        """Name of the environment variable."""
        return PREFIX + self.name.upper()

    @property
    def flag(self) -> str:
        """Name of the command line flag."""
        return "--" + self.name.replace("_", "-")

    @property
    def expected(self) -> str:
        """Description of the valid values."""
        if self.choices:
            return f"one of {', '.join(self.choices)}"
        if self.kind not in (int, float):
            return "text that is not empty" if self.default else "text"
        low, high = _format_number(self.minimum), _format_number(self.maximum)
        return f"a whole number from {low} to {high}" if self.kind is int else f"a number from {low} to {high}"

    def parse(self, raw: object, source: str) -> Any:
        """Parses a flag, an environment variable or a TOML value. Raises InvalidSettingError, which does not contain the value."""
        value = self._number(raw) if self.kind in (int, float) else self._text(raw)
        if value is None:
            raise InvalidSettingError(source=source, name=self.name, expected=self.expected)
        return value

    def _number(self, raw: object) -> float | None:
        if isinstance(raw, bool) or not isinstance(raw, int | float | str):
            return None
        try:
            number = self.kind(raw)
        except (ValueError, OverflowError):
            # Accepts integers in scientific notation, such as 40e6 pixels.
            number = _parse_integer(raw)
        if number is None or (self.kind is int and number != float(raw)):
            return None
        assert self.minimum is not None  # noqa: S101 - narrows the type: every number has a range, checked by a test
        assert self.maximum is not None  # noqa: S101 - the same
        return number if self.minimum <= number <= self.maximum else None

    def _text(self, raw: object) -> str | Path | None:
        if not isinstance(raw, str | Path) or (self.choices and raw not in self.choices):
            return None
        if not str(raw) and self.default:
            return None
        return Path(raw) if self.kind is Path else str(raw)


def _format_number(number: float | None) -> str:
    return f"{number:,.12g}".replace(",", " ") if number is not None else "any"


def _parse_integer(raw: float | str) -> int | None:
    try:
        number = float(raw)
    except ValueError:
        return None
    return int(number) if number.is_integer() else None


def _setting(default: Any, text: str, **limits: Any) -> Any:
    return field(default=default, metadata={"help": text, **limits}, repr=limits.pop("shown", True))


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All settings. Lifetime: the process."""

    home: Path = _setting(_DEFAULT_HOME, "Folder with the database, journals, packages and inputs.")  # noqa: RUF009 - returns a dataclass field
    host: str = _setting("127.0.0.1", "Address to listen on.")
    port: int = _setting(8000, "Port to listen on; 0 takes a free one.", minimum=0, maximum=65535)
    allowed_hosts: str = _setting(
        "", "Names, with commas between, that callers may have for this server beside its own, as behind a proxy; * is any."
    )
    trusted_proxies: str = _setting(
        "",
        "Addresses or networks, with commas between, of the proxies in front, which encrypt; what they forward of callers is "
        "believed, from them alone.",
    )
    tls: str = _setting(
        "off", "auto encrypts with a certificate of its own, made in home and signed by nobody.", choices=("off", "auto")
    )
    tls_cert: str = _setting("", "File with the certificate (PEM, the chain below it) to encrypt with; needs tls_key.")
    tls_key: str = _setting("", "File with the private key (PEM, without a passphrase) of tls_cert.")
    public_url: str = _setting(
        "",
        "Address at which browsers reach the server, where the console sends whoever signs in elsewhere; empty means where the "
        "console asks it.",
    )
    console_public_url: str = _setting(
        "", "Address at which browsers reach the console, as behind a proxy that encrypts; empty means where it listens."
    )
    console_key_file: str = _setting(
        "",
        "File (mode 0600) with the key by which the server believes its console for whom it asks; made by the server; empty means "
        "keys/console.key in home.",
    )
    oidc_issuer: str = _setting("", "Where else people may sign in: the address of an OpenID Connect provider, as it calls itself.")
    oidc_client_id: str = _setting("", "What this server is called there.")
    oidc_client_secret: str = _setting("", "What this server shows there, where the provider wants that.", shown=False)
    oidc_default_role: str = _setting(
        "nobody",
        "What somebody becomes here who signs in there for the first time; nobody: an admin links accounts to users.",
        choices=("nobody", "viewer", "labeler", "operator"),
    )
    workers: int = _setting(0, "Worker processes; 0 means one a core.", minimum=0, maximum=256)
    database_url: str = _setting(
        "", "Database; empty means SQLite in home, else sqlite:/// or postgresql+psycopg:// …", shown=False
    )
    durability: str = _setting(
        "process",
        "What an acknowledged prediction survives: process = kill -9, full = power loss, relaxed = it may go unrecorded.",
        choices=("process", "full", "relaxed"),
    )
    log_inputs: str = _setting(
        "all", "Which inputs are kept beside their predictions.", choices=("all", "uncertain", "sample", "none")
    )
    log_inputs_rate: float = _setting(0.1, "Share of inputs kept when log_inputs is sample.", minimum=0, maximum=1)
    default_model: str = _setting("", "Model that answers /predict; empty means the only one, or the one registered first.")
    max_body_mb: int = _setting(20, "Largest request body, in MiB.", minimum=1, maximum=1024)
    max_pixels: int = _setting(40_000_000, "Most pixels an image may have.", minimum=1, maximum=1_000_000_000)
    max_side: int = _setting(16_384, "Longest side of an image, in pixels.", minimum=1, maximum=65_535)
    max_records_per_request: int = _setting(1000, "Most records in one batch request.", minimum=1, maximum=1_000_000)
    max_fields: int = _setting(2000, "Most fields of one record.", minimum=1, maximum=100_000)
    max_parts: int = _setting(20, "Most parts of one form.", minimum=1, maximum=1000)
    max_queue_size: int = _setting(2000, "Most rows waiting in a worker before it answers 503.", minimum=1, maximum=1_000_000)
    max_queue_seconds: float = _setting(
        25.0,
        "Longest time, in s, that an answer may be expected to take when it is asked for; beyond it a worker answers 503, and at "
        "twice that in any case.",
        minimum=0.1,
        maximum=3600,
    )
    max_concurrency_per_client: int = _setting(
        0,
        "Most requests of one key, user or address under way, shared out among the workers, at least one for each; "
        "0 means no bound.",
        minimum=0,
        maximum=100_000,
    )
    rate_limit: float = _setting(
        0.0,
        "Units a second that one key, user or address may ask for; a row is one, and so are 256 KiB of body or a million pixels; "
        "each worker has its share, so one kept connection gets no more than that; 0 means no bound.",
        minimum=0,
        maximum=1_000_000_000,
    )
    rate_burst: float = _setting(
        0.0, "Units that may be asked for at once after a pause; 0 means ten seconds' worth.", minimum=0, maximum=1_000_000_000
    )
    max_batch_size: int = _setting(64, "Most rows the model sees at once.", minimum=1, maximum=4096)
    language: str = _setting(
        "en", "Language of commands, and of the server's sentences when the caller asks for none.", choices=("en", "es")
    )
    route_poll_ms: int = _setting(500, "How often workers look for a new version, in ms.", minimum=20, maximum=60_000)
    flush_interval_ms: int = _setting(250, "How often journals are shipped to the database, in ms.", minimum=20, maximum=60_000)
    spool_rotate_mb: int = _setting(
        32, "Size at which a journal file is closed and a new one begun, in MiB.", minimum=1, maximum=4096
    )
    spool_rotate_s: int = _setting(60, "Age at which a journal file is closed, in s.", minimum=1, maximum=86_400)
    spool_max_mb: int = _setting(
        2048,
        "Most MiB of journals not yet shipped; beyond it predictions are refused (see durability).",
        minimum=1,
        maximum=1_000_000,
    )
    label_aggregation: str = _setting(
        "last",
        "Which of several labels counts: the last one, what most people say, or the last of trusted_label_sources alone.",
        choices=("last", "majority", "trusted"),
    )
    trusted_label_sources: str = _setting(
        "", "Sources of labels that are trusted, with commas between: page, api, cli, csv, or a person as author:NAME."
    )
    label_sampling_rate: float = _setting(
        0.1, "Share of the answers neither uncertain nor disputed that people are asked about.", minimum=0, maximum=1
    )
    max_author_share: float = _setting(
        0.3, "Largest share of the labels to learn from that one person not trusted may have given.", minimum=0.01, maximum=1
    )
    encrypt_inputs: str = _setting(
        "off", "Whether stored inputs are encrypted, with a key for each subject or day (extra sealing).", choices=("off", "on")
    )
    master_key_file: str = _setting(
        "", "File (mode 0600) with the key that wraps the others, 64 hex digits; empty means keys/master.key in home."
    )
    retention_days: int = _setting(
        0, "Days after which predictions are removed with their labels; 0 keeps them.", minimum=0, maximum=36_500
    )
    max_input_storage_mb: int = _setting(
        0, "Most MiB of inputs kept; beyond it the oldest inputs are removed; 0 keeps them.", minimum=0, maximum=1_000_000_000
    )
    audit_checkpoint_to: str = _setting(
        "",
        "Where each new head of the audit is told, too: a file on another disk, or an https address that takes it by POST.",
    )
    audit_head_allowed: str = _setting(
        "",
        "Hosts or networks, with commas between, that audit_checkpoint_to may lead to although they are private or speak plain http.",
    )
    audit_checkpoint_dir: str = _setting("", "Folder for the heads of the audit, best on another disk; empty means audit in home.")
    log_level: str = _setting("warning", "Least severe log line shown.", choices=("debug", "info", "warning", "error"))
    log_format: str = _setting("text", "Form of a log line.", choices=("text", "json"))
    keep_alive_seconds: int = _setting(
        75,
        "How long a connection without a request is kept, in s; longer than any client or proxy in front keeps it.",
        minimum=1,
        maximum=3600,
    )
    shutdown_timeout_s: int = _setting(10, "How long a stopping worker finishes what it has begun, in s.", minimum=0, maximum=600)
    intra_op_threads: int = _setting(1, "Threads of one model in one worker.", minimum=1, maximum=256)

    @property
    def worker_count(self) -> int:
        """Worker processes to start: `workers`, or one for each core this process may use."""
        return self.workers or (len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)

    @property
    def store_url(self) -> str:
        """URL of the database: `database_url`, or the SQLite file in home."""
        return self.database_url or f"sqlite:///{self.home.resolve() / 'relevo.db'}"

    @property
    def trusted_names(self) -> tuple[str, ...]:
        """The names in `trusted_label_sources`."""
        return tuple(sorted({name.strip() for name in self.trusted_label_sources.split(",")} - {""}))

    @property
    def is_local_only(self) -> bool:
        """Whether the server listens on loopback only. A name other than localhost may resolve to another address."""
        try:
            return self.host == "localhost" or ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    @property
    def encrypted(self) -> bool:
        """Whether the server uses TLS."""
        return self.tls == "auto" or bool(self.tls_cert or self.tls_key)

    @property
    def packages_folder(self) -> Path:
        """Folder of registered packages, one folder per digest."""
        return self.home / "packages"

    @property
    def blobs_folder(self) -> Path:
        """Folder of large inputs, named by the digest of their content."""
        return self.home / "blobs"

    @property
    def spool_folder(self) -> Path:
        """Folder of the workers' journals."""
        return self.home / "spool"

    @property
    def telemetry_folder(self) -> Path:
        """Folder of the workers' metrics."""
        return self.home / "telemetry"

    @property
    def audit_folder(self) -> Path:
        """Folder of the audit checkpoints, which are outside the database."""
        return Path(self.audit_checkpoint_dir) if self.audit_checkpoint_dir else self.home / "audit"

    @property
    def keys_folder(self) -> Path:
        """Folder of the keys: the audit key, and those that encrypt inputs."""
        return self.home / "keys"

    @property
    def console_key(self) -> Path:
        """File of the key shared by the server and its console."""
        return Path(self.console_key_file) if self.console_key_file else self.keys_folder / "console.key"

    @property
    def tls_folder(self) -> Path:
        """Folder of the server's own certificate and its key."""
        return self.home / "tls"


def _definitions() -> tuple[Setting, ...]:
    kinds = {"Path": Path, "str": str, "int": int, "float": float}
    definitions = []
    for option in fields(Settings):
        metadata = {key: value for key, value in option.metadata.items() if key != "shown"}
        definitions.append(Setting(name=option.name, kind=kinds[str(option.type)], default=option.default, **metadata))
    return tuple(definitions)


SETTINGS = _definitions()
_BY_NAME = {setting.name: setting for setting in SETTINGS}


def load_settings(
    flags: Mapping[str, object] | None = None,
    environ: Mapping[str, str] | None = None,
    toml_path: Path | None = None,
) -> Settings:
    """Loads the settings from all sources.

    flags: name → value; None means not given. environ: defaults to the process's; an empty variable counts as not set.
    toml_path: a relevo.toml, or None. Relative paths in it are relative to its folder.
    Raises UnknownSettingError and InvalidSettingError, which name source and key, and ConfigError.
    """
    values: dict[str, Any] = {}
    if toml_path is not None:
        values |= _from_toml(toml_path)
    values |= _from_environ(os.environ if environ is None else environ)
    values |= _from_flags(flags or {})
    return Settings(**values)


def read_toml(path: Path) -> dict[str, dict[str, Any]]:
    """The sections of a relevo.toml. Raises ConfigError for an unreadable file or an unknown section."""
    try:
        sections = tomllib.loads(read_plain_text(path, max_bytes=_MAX_TOML_BYTES))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as cause:
        raise ConfigError(reason=f"{path} cannot be read: {read_error_text(cause)}") from cause
    except RecursionError as cause:
        raise ConfigError(reason=f"{path} cannot be read (it is nested too deeply)") from cause
    for name, section in sections.items():
        if name not in SECTIONS:
            known = ", ".join(f"[{known}]" for known in SECTIONS)
            raise ConfigError(reason=f"{path.name} has '{name}', but this release has no such section; it has {known}")
        if not isinstance(section, dict):
            raise ConfigError(reason=f"'{name}' in {path.name} must be a section: [{name}]")
    return sections


def _from_toml(path: Path) -> dict[str, Any]:
    values = {}
    for name, raw in read_toml(path).get("server", {}).items():
        setting = _definition(name, f"{path.name} [server]")
        values[name] = setting.parse(raw, f"{path.name} [server]")
    if "home" in values:
        values["home"] = path.parent / values["home"]
    for name in ("tls_cert", "tls_key"):
        if values.get(name):
            values[name] = str(path.parent / values[name])
    return values


def _from_environ(environ: Mapping[str, str]) -> dict[str, Any]:
    values = {}
    for variable, raw in environ.items():
        if not variable.startswith(PREFIX) or variable in OTHER_VARIABLES or not raw:
            continue
        setting = _definition_of_variable(variable)
        values[setting.name] = setting.parse(raw, "The environment")
    return values


def _definition_of_variable(variable: str) -> Setting:
    for setting in SETTINGS:
        if setting.variable == variable:
            return setting
    variables = [*(setting.variable for setting in SETTINGS), *OTHER_VARIABLES]
    raise UnknownSettingError(source="The environment", name=variable, nearest=_nearest(variable, variables))


def _from_flags(flags: Mapping[str, object]) -> dict[str, Any]:
    values = {name: raw for name, raw in flags.items() if raw is not None}
    return {name: _definition(name, "The command line").parse(raw, "The command line") for name, raw in values.items()}


def _definition(name: str, source: str) -> Setting:
    setting = _BY_NAME.get(name)
    if setting is None:
        raise UnknownSettingError(source=source, name=name, nearest=_nearest(name, list(_BY_NAME)))
    return setting


def _nearest(name: str, names: list[str]) -> str:
    return difflib.get_close_matches(name, names, n=1, cutoff=0.0)[0]
