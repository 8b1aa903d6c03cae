"""Platforms: every one has an address."""

from urllib.parse import urlsplit

import pytest

from emag_syncd.domain.platforms import Platform


@pytest.mark.parametrize("platform", Platform)
def test_every_platform_has_an_address(platform: Platform) -> None:
    """Over TLS, ending without a slash, and no other platform's."""
    assert urlsplit(platform.base_url).scheme == "https"
    assert platform.base_url.endswith("/api-3")
    assert sum(other.base_url == platform.base_url for other in Platform) == 1


def test_the_names_are_those_of_the_configuration() -> None:
    """Names are part of the contract."""
    assert [platform.value for platform in Platform] == ["emag-ro", "emag-bg", "emag-hu", "fd-ro", "fd-bg"]
