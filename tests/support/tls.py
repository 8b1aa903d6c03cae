"""Certificates good and bad, for servers that speak TLS."""

import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import trustme

HOST = "localhost"
A_DAY = timedelta(days=1)


class Authority:
    """Who signs certificates; ``bad`` are those that must not be trusted, by what their refusal says."""

    def __init__(self, folder: Path) -> None:
        """Write what a process has to trust into ``folder``."""
        ca = trustme.CA()
        self.path = folder / "ca.pem"
        ca.cert_pem.write_to_path(str(self.path))
        yesterday = datetime.now(UTC) - A_DAY
        self.good = ca.issue_cert(HOST)
        self.bad = {
            "unable to get local issuer certificate": trustme.CA().issue_cert(HOST),
            "Hostname mismatch": ca.issue_cert("elsewhere.example"),
            "certificate has expired": ca.issue_cert(HOST, not_before=yesterday - A_DAY, not_after=yesterday),
        }


def showing(certificate: trustme.LeafCert) -> ssl.SSLContext:
    """Return the context of a server that shows this certificate; another may be configured later."""
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(tls)
    return tls
