"""A certificate is loaded again when its files change, and kept when they cannot be used."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from certificates import self_signed
from structlog.testing import capture_logs

from rewake.errors import ErrorCode, RewakeError
from rewake.http_server.tls import Certificate


def test_a_renewal_and_one_that_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "new").mkdir()
    certificate, key = self_signed(tmp_path)
    served = Certificate(certificate, key)
    with capture_logs() as logs:
        served.renew()
        certificate.write_text("half of a fi")
        served.renew()
        served.renew()
        for path in self_signed(tmp_path / "new"):
            shutil.copy(path, tmp_path)
        served.renew()
    assert [each["event"] for each in logs] == ["certificate_not_renewed", "certificate_renewed"]


def test_one_that_cannot_be_used_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(RewakeError) as caught:
        Certificate(tmp_path / "missing.pem")
    assert caught.value.code is ErrorCode.TLS_CERTIFICATE_INVALID
