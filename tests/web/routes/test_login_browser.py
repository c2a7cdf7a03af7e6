"""Login in a real Chromium: on a phone, in Spanish, with and without JavaScript, and with an expired session."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from tests.support.browser import IN_A_BROWSER, Seen, sideways, verdict
from tests.support.login import PASSWORD, add

from relevo.domain.access import Role
from relevo.store.auth.users import UserChange

if TYPE_CHECKING:
    from collections.abc import Callable

    from playwright.sync_api import Page
    from tests.support.web_app import World

pytestmark = IN_A_BROWSER

PHONE = {"width": 390, "height": 800}


def sign_in(page: Page, name: str, password: str = PASSWORD) -> None:
    """Fills in and submits the login form."""
    page.fill("#name", name)
    page.fill("#password", password)
    page.click("main button.primary")


def label(world: World) -> tuple[str, str] | None:
    """Label and author of the newest prediction."""
    current = world.store.labels.resolved(world.store.predictions.page().items[0].prediction.id)
    return None if current is None else (current.value, current.author)


@pytest.mark.parametrize("script", [True, False], ids=["script", "no script"])
def test_a_labeler_signs_in_asks_and_corrects(world: World, visit: Callable[..., Page], seen: Seen, script: bool) -> None:  # noqa: FBT001 - a parameter of the test
    """Login redirects back to the page; the label has the user's name; the logout button works."""
    add(world, "boss")
    add(world, "ana", Role.LABELER)
    page = visit("/?model=churn", locale="es-ES", viewport=PHONE, java_script_enabled=script)
    assert page.inner_text("h1") == "Entrar"
    sign_in(page, "ana", "no es la suya, no")
    assert "contraseña" in page.inner_text("[role=alert]")
    assert page.input_value("#name") == "ana"
    assert page.input_value("#password") == ""
    sign_in(page, "ana")
    page.wait_for_url("**/?model=churn")
    if script:
        assert sideways(page) == 0
    page.click("#fill")
    page.click("main .primary")
    assert "leaves" in verdict(page)
    page.click(".feedback button:has-text('stays')")
    page.wait_for_selector(".kept:has-text('Gracias')" if script else "h1:has-text('Gracias')")
    assert label(world) == ("stays", "ana")
    page.click("header button")
    assert page.inner_text("h1") == "Entrar"
    assert "relevo_session" not in {one["name"] for one in page.context.cookies()}
    # The browser logs the 401 of the wrong password.
    seen.complaints.clear()


def test_a_session_that_ended_leads_to_the_form(world: World, visit: Callable[..., Page], seen: Seen) -> None:
    """With an expired session, the page leads to the login form and back."""
    add(world, "boss")
    ana = add(world, "ana", Role.VIEWER)
    page = visit("/?model=churn")
    sign_in(page, "ana")
    page.wait_for_url("**/?model=churn")
    world.store.users.change_user(ana, UserChange(role=Role.LABELER), at=datetime.now(UTC))
    page.click("#fill")
    page.wait_for_timeout(400)
    page.click("main .primary")
    page.wait_for_url("**/login?next=**")
    sign_in(page, "ana")
    page.wait_for_url("**/?model=churn")
    assert page.inner_text(".who .small") == "ana"
    seen.complaints.clear()
