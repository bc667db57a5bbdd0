"""The catalogue job in its full size, as whole processes."""

from __future__ import annotations

import pytest

from docs.conftest import Shell, make_shell, offline_shell
from examples.catalogue import two_nights

__all__ = ["make_shell", "offline_shell"]

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def test_20_000_products_with_40_pictures_and_7_that_change(offline_shell: Shell) -> None:
    two_nights(offline_shell, 20_000, 40)
