"""The marketplaces there are, by the names the configuration uses."""

from enum import StrEnum


class Platform(StrEnum):
    """One of the group's marketplaces: each has its own hosts, its own accounts and its own list of IPs."""

    EMAG_RO = "emag-ro"
    EMAG_BG = "emag-bg"
    EMAG_HU = "emag-hu"
    FD_RO = "fd-ro"
    FD_BG = "fd-bg"

    @property
    def base_url(self) -> str:
        """Where the platform's API answers, without a slash at the end."""
        return _BASE_URLS[self]


_BASE_URLS = {
    Platform.EMAG_RO: "https://marketplace-api.emag.ro/api-3",
    Platform.EMAG_BG: "https://marketplace-api.emag.bg/api-3",
    Platform.EMAG_HU: "https://marketplace-api.emag.hu/api-3",
    Platform.FD_RO: "https://marketplace-ro-api.fashiondays.com/api-3",
    Platform.FD_BG: "https://marketplace-bg-api.fashiondays.com/api-3",
}
