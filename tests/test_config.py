"""Settings: each has a flag, a variable and a key; source precedence; unknown keys are errors."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from relevo.config import SECTIONS, SETTINGS, Setting, Settings, load_settings, read_toml
from relevo.errors import ConfigError, InvalidSettingError, UnknownSettingError

if TYPE_CHECKING:
    from collections.abc import Callable

#: For each setting a value that is not its default, as the environment, a flag and TOML would have it.
OTHER: dict[str, tuple[str, Any]] = {
    "home": ("elsewhere", Path("elsewhere")),
    "host": ("::1", "::1"),
    "port": ("9000", 9000),
    "allowed_hosts": ("models.example", "models.example"),
    "trusted_proxies": ("10.0.0.0/8", "10.0.0.0/8"),
    "public_url": ("https://models.example", "https://models.example"),
    "console_public_url": ("https://console.example", "https://console.example"),
    "console_key_file": ("/run/secrets/console", "/run/secrets/console"),
    "oidc_issuer": ("https://id.example", "https://id.example"),
    "oidc_client_id": ("relevo", "relevo"),
    "oidc_client_secret": ("between us", "between us"),
    "oidc_default_role": ("viewer", "viewer"),
    "rate_limit": ("2.5", 2.5),
    "rate_burst": ("25", 25.0),
    "encrypt_inputs": ("on", "on"),
    "master_key_file": ("/run/secrets/master", "/run/secrets/master"),
    "retention_days": ("30", 30),
    "max_input_storage_mb": ("100", 100),
    "audit_checkpoint_to": ("https://heads.example/take", "https://heads.example/take"),
    "audit_head_allowed": ("10.0.0.0/8", "10.0.0.0/8"),
    "audit_checkpoint_dir": ("/mnt/heads", "/mnt/heads"),
    "workers": ("3", 3),
    "tls": ("auto", "auto"),
    "tls_cert": ("/etc/ssl/a.pem", "/etc/ssl/a.pem"),
    "tls_key": ("/etc/ssl/a.key", "/etc/ssl/a.key"),
    "database_url": ("sqlite:///a.db", "sqlite:///a.db"),
    "durability": ("full", "full"),
    "log_inputs": ("sample", "sample"),
    "log_inputs_rate": ("0.25", 0.25),
    "default_model": ("churn", "churn"),
    "max_body_mb": ("1", 1),
    "max_pixels": ("1e6", 1_000_000),
    "max_side": ("100", 100),
    "max_records_per_request": ("10", 10),
    "max_fields": ("10", 10),
    "max_parts": ("2", 2),
    "max_queue_size": ("5", 5),
    "keep_alive_seconds": ("30", 30),
    "max_queue_seconds": ("2.5", 2.5),
    "max_concurrency_per_client": ("4", 4),
    "max_batch_size": ("1", 1),
    "language": ("es", "es"),
    "route_poll_ms": ("50", 50),
    "flush_interval_ms": ("50", 50),
    "spool_rotate_mb": ("1", 1),
    "spool_rotate_s": ("1", 1),
    "spool_max_mb": ("10", 10),
    "label_aggregation": ("majority", "majority"),
    "trusted_label_sources": ("csv,author:ana", "csv,author:ana"),
    "label_sampling_rate": ("0.5", 0.5),
    "max_author_share": ("0.5", 0.5),
    "log_level": ("debug", "debug"),
    "log_format": ("json", "json"),
    "shutdown_timeout_s": ("1", 1),
    "intra_op_threads": ("2", 2),
}


def toml(folder: Path, text: str) -> Path:
    path = folder / "relevo.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_every_setting_is_tried_here() -> None:
    """The table of this test has every setting."""
    assert set(OTHER) == {row.name for row in SETTINGS}


@pytest.mark.parametrize("row", SETTINGS, ids=lambda row: row.name)
def test_each_setting_is_read_from_every_source(row: Setting, tmp_path: Path) -> None:
    """Flag, variable and [server] key of each setting set its value."""
    text, value = OTHER[row.name]
    assert value != row.default
    assert getattr(load_settings({row.name: text}, {}), row.name) == value
    assert getattr(load_settings({}, {row.variable: text}), row.name) == value
    quoted = text if row.kind in (int, float) else f'"{text}"'
    expected = tmp_path / value if row.name == "home" else value
    assert getattr(load_settings({}, {}, toml(tmp_path, f"[server]\n{row.name} = {quoted}\n")), row.name) == expected


def test_paths_in_a_file_start_from_its_folder(tmp_path: Path) -> None:
    """Home and certificate paths in relevo.toml are relative to its folder."""
    written = 'home = "h"\ntls_cert = "tls/cert.pem"\ntls_key = "/abs/key.pem"\n'
    settings = load_settings({}, {}, toml(tmp_path, f"[server]\n{written}"))
    assert settings.home == tmp_path / "h"
    assert (settings.tls_cert, settings.tls_key) == (str(tmp_path / "tls/cert.pem"), "/abs/key.pem")


@pytest.mark.parametrize("row", SETTINGS, ids=lambda row: row.name)
def test_each_setting_tells_what_it_does(row: Setting) -> None:
    """Every setting has a help text, and every number a range that contains its default."""
    assert row.help.endswith((".", "…"))
    if row.kind in (int, float):
        assert row.minimum is not None
        assert row.maximum is not None
        assert row.minimum <= row.default <= row.maximum


@pytest.mark.parametrize("row", [row for row in SETTINGS if row.kind in (int, float)], ids=lambda row: row.name)
def test_numbers_out_of_range_are_refused(row: Setting) -> None:
    """Rejects numbers out of range, fractions for integers, and text, naming the setting."""
    assert row.minimum is not None
    assert row.maximum is not None
    for wrong in (str(row.minimum - 1), str(row.maximum * 2 + 1), "many", "nan", "inf", True):
        with pytest.raises(InvalidSettingError, match=row.name):
            load_settings({row.name: wrong}, {})
    if row.kind is int:
        with pytest.raises(InvalidSettingError, match="whole number"):
            load_settings({row.name: "1.5"}, {})


def test_choices_are_held_to() -> None:
    """A value outside a closed list is rejected with the list."""
    with pytest.raises(InvalidSettingError, match="process, full, relaxed"):
        load_settings({}, {"RELEVO_DURABILITY": "eternal"})


def test_the_nearer_source_wins(tmp_path: Path) -> None:
    """Precedence: flags, variables, relevo.toml, default."""
    path = toml(tmp_path, "[server]\nport = 1001\nmax_records_per_request = 11\nmax_batch_size = 21\n")
    environ = {"RELEVO_PORT": "1002", "RELEVO_MAX_RECORDS_PER_REQUEST": "12"}
    settings = load_settings({"port": 1003, "workers": None}, environ, path)
    assert (settings.port, settings.max_records_per_request, settings.max_batch_size, settings.workers) == (1003, 12, 21, 0)


def test_an_empty_variable_counts_as_not_set() -> None:
    """`RELEVO_PORT=` in a shell script keeps the default."""
    assert load_settings({}, {"RELEVO_PORT": ""}).port == 8000


def test_a_misspelt_key_names_the_nearest(tmp_path: Path) -> None:
    """An unknown key from any source is an error that names the most similar setting."""
    with pytest.raises(UnknownSettingError, match="'portt'; the nearest known one is 'port'"):
        load_settings({"portt": 1}, {})
    with pytest.raises(UnknownSettingError, match="'RELEVO_WORKER'; the nearest known one is 'RELEVO_WORKERS'"):
        load_settings({}, {"RELEVO_WORKER": "2"})
    with pytest.raises(UnknownSettingError, match=r"relevo.toml \[server\] has an unknown setting 'durabilty'.*'durability'"):
        load_settings({}, {}, toml(tmp_path, '[server]\ndurabilty = "full"\n'))


def test_other_variables_of_ours_are_no_settings() -> None:
    """The client's URL and key and the test data path may be in the environment."""
    environ = {"RELEVO_URL": "http://x", "RELEVO_KEY": "k", "RELEVO_TEST_DATA": "/d", "HOME": "/root"}
    assert load_settings({}, environ) == Settings()


def test_a_section_of_another_release_is_refused_by_name(tmp_path: Path) -> None:
    """An unknown section is an error, and is not ignored."""
    with pytest.raises(ConfigError, match=r"has 'retrain', but this release has no such section"):
        load_settings({}, {}, toml(tmp_path, '[retrain]\nwhen = ["drift"]\n'))
    everything = "".join(f"[{name}]\n" for name in SECTIONS)
    assert set(read_toml(toml(tmp_path, everything))) == set(SECTIONS)


def test_a_broken_file_is_refused(tmp_path: Path) -> None:
    """The error for an invalid or missing relevo.toml names it."""
    with pytest.raises(ConfigError, match="cannot be read"):
        load_settings({}, {}, toml(tmp_path, "[server\n"))
    with pytest.raises(ConfigError, match="cannot be read"):
        load_settings({}, {}, tmp_path / "nowhere.toml")
    with pytest.raises(ConfigError, match=r"must be a section: \[server\]"):
        load_settings({}, {}, toml(tmp_path, "server = 3\n"))


def test_what_is_wrong_is_never_repeated() -> None:
    """Errors name the setting, but never contain its value, which may be a secret."""
    with pytest.raises(InvalidSettingError) as caught:
        load_settings({}, {"RELEVO_PORT": "hunter2"})
    assert "hunter2" not in str(caught.value)


def test_the_password_of_a_database_is_not_shown() -> None:
    """The repr of the settings does not contain the database URL, which may have a password."""
    settings = load_settings({"database_url": "postgresql+psycopg://u:secret@h/d"}, {})
    assert "secret" not in repr(settings)
    assert settings.store_url.endswith("secret@h/d")


def test_what_follows_from_home(tmp_path: Path) -> None:
    """All folders are in home, and so is the database by default."""
    settings = load_settings({"home": tmp_path}, {})
    assert settings.store_url == f"sqlite:///{tmp_path / 'relevo.db'}"
    for folder in (settings.packages_folder, settings.blobs_folder, settings.spool_folder, settings.telemetry_folder):
        assert folder.parent == tmp_path


def test_workers_follow_the_cores() -> None:
    """0 workers means one per available core; any other number is taken literally."""
    assert load_settings({}, {}).worker_count >= 1
    assert load_settings({"workers": 3}, {}).worker_count == 3


@pytest.mark.parametrize(
    ("make", "word"),
    [
        (lambda path: path.mkdir(), "folder"),
        (lambda path: path.symlink_to(path), "symbolic links"),
        (lambda path: path.symlink_to("/dev/zero"), "device"),
        (lambda path: path.write_text("a = " + "[" * 100_000), "nested too deeply"),
    ],
    ids=["a folder", "a link to itself", "a device", "deep brackets"],
)
def test_what_is_no_settings_file_is_told(
    make: Callable[[Path], object], word: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An unreadable relevo.toml is an error, and is not ignored."""
    from relevo.cli.options import load_command_settings

    monkeypatch.chdir(tmp_path)
    make(tmp_path / "relevo.toml")
    with pytest.raises(ConfigError, match=word):
        load_command_settings(None)
