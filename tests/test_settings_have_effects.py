"""Every setting has a test that shows its effect; a new one without such a test fails here.

setting ─ EFFECTS ─► file::test, which must exist and speak of it
"""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from relevo.config import SETTINGS

_TESTS = Path(__file__).parent
_SERVER = "server/test_settings_effect.py"
_PREDICT = "web/predict/test_handlers.py"

#: Where the effect of each setting is shown.
EFFECTS = {
    "home": f"{_SERVER}::test_places_and_numbers",
    "host": f"{_SERVER}::test_places_and_numbers",
    "port": f"{_SERVER}::test_places_and_numbers",
    "allowed_hosts": "web/middleware/test_trusted_host.py::test_a_listed_name_is_let_in",
    "trusted_proxies": "util/test_proxy_headers.py::test_a_connection_of_the_proxy_tells_the_caller",
    "rate_limit": "web/middleware/test_rate_limit.py::test_a_flood_of_one_leaves_the_others_alone",
    "rate_burst": "web/middleware/test_rate_limit.py::test_the_settings_are_shared_out_among_workers",
    "tls": "server/test_https.py::test_tls_auto_serves_https",
    "tls_cert": "server/test_https.py::test_a_given_pair_is_shown_to_callers",
    "tls_key": "server/test_https.py::test_a_given_pair_is_shown_to_callers",
    "public_url": "console/auth/test_oidc.py::test_redirects_use_the_public_urls",
    "console_public_url": "console/test_behind_nginx.py::test_the_cookie_is_secure_behind_a_proxy_that_encrypts",
    "console_key_file": "console/auth/test_oidc.py::test_console_key_file",
    "oidc_issuer": "web/auth/test_oidc.py::test_the_settings_reach_the_server",
    "oidc_client_id": "web/auth/test_oidc.py::test_the_settings_reach_the_server",
    "oidc_client_secret": "web/auth/test_oidc.py::test_the_settings_reach_the_server",
    "oidc_default_role": "web/auth/test_oidc.py::test_the_settings_reach_the_server",
    "workers": f"{_SERVER}::test_places_and_numbers",
    "database_url": f"{_SERVER}::test_places_and_numbers",
    "durability": f"{_SERVER}::test_relaxed_durability_answers_without_a_spool",
    "log_inputs": f"{_SERVER}::test_places_and_numbers",
    "log_inputs_rate": "serve/test_loaded_version.py::test_a_sample_keeps_about_its_share",
    "default_model": f"{_SERVER}::test_places_and_numbers",
    "max_body_mb": f"{_PREDICT}::test_refusals_are_told_in_the_callers_language",
    "max_pixels": f"{_SERVER}::test_pictures_have_the_limits_that_were_set",
    "max_side": f"{_SERVER}::test_pictures_have_the_limits_that_were_set",
    "max_records_per_request": f"{_PREDICT}::test_a_batch_beyond_max_records_per_request_is_refused",
    "max_fields": f"{_PREDICT}::test_too_many_fields_are_refused",
    "max_parts": "web/predict/test_body.py::test_parts_and_fields_are_counted",
    "max_queue_size": f"{_SERVER}::test_a_full_queue",
    "keep_alive_seconds": "server/test_connections.py::test_an_idle_connection_is_kept_as_long_as_the_setting_says",
    "max_queue_seconds": "chaos/test_slow_model.py::test_everybody_is_answered_or_refused_in_time",
    "max_concurrency_per_client": f"{_SERVER}::test_a_clients_share",
    "max_batch_size": "serve/test_service.py::test_the_model_sees_at_most_max_batch_size_at_once",
    "language": f"{_SERVER}::test_places_and_numbers",
    "route_poll_ms": f"{_SERVER}::test_a_slow_watch_and_a_slow_loop",
    "flush_interval_ms": f"{_SERVER}::test_a_slow_watch_and_a_slow_loop",
    "spool_rotate_mb": f"{_SERVER}::test_settings_reach_the_lane_and_the_journal",
    "spool_rotate_s": f"{_SERVER}::test_a_quick_watch_and_a_quick_loop",
    "spool_max_mb": f"{_SERVER}::test_relaxed_durability_answers_without_a_spool",
    "encrypt_inputs": "server/test_admin.py::test_nothing_is_left_of_an_erased_subject",
    "master_key_file": "server/test_admin.py::test_nothing_is_left_of_an_erased_subject",
    "retention_days": "server/test_maintenance.py::test_what_is_kept_is_as_told",
    "max_input_storage_mb": "server/test_maintenance.py::test_what_is_kept_is_as_told",
    "audit_checkpoint_to": "server/test_checkpoint_export.py::test_the_settings_say_where",
    "audit_head_allowed": "server/test_checkpoint_export.py::test_the_settings_say_where",
    "audit_checkpoint_dir": "server/test_maintenance.py::test_heads_go_where_they_are_told",
    "label_aggregation": "server/test_label_aggregation.py::test_the_rule_and_the_trusted_are_as_set",
    "trusted_label_sources": "server/test_label_aggregation.py::test_the_rule_and_the_trusted_are_as_set",
    "label_sampling_rate": "server/test_label_aggregation.py::test_the_drawn_share_is_as_set",
    "max_author_share": "server/test_label_aggregation.py::test_an_authors_share_is_as_set",
    "log_level": f"{_SERVER}::test_the_log_is_as_told",
    "log_format": f"{_SERVER}::test_the_log_is_as_told",
    "shutdown_timeout_s": f"{_SERVER}::test_draining_takes_as_long_as_told",
    "intra_op_threads": f"{_SERVER}::test_a_model_has_its_threads",
}


def test_every_setting_has_a_test_of_its_effect() -> None:
    """The table has every setting and nothing else."""
    assert EFFECTS.keys() == {row.name for row in SETTINGS}


@pytest.mark.parametrize(("name", "place"), EFFECTS.items())
def test_the_test_exists_and_speaks_of_the_setting(name: str, place: str) -> None:
    """The named test exists, and it or its module's fixtures use the setting."""
    file, _, function = place.partition("::")
    source = (_TESTS / file).read_text()
    assert function in {node.name for node in ast.walk(ast.parse(source)) if isinstance(node, ast.FunctionDef)}
    assert name in source
