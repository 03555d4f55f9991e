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


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A certificate, its key, the key of another one, and garbage."""
    (tmp_path / "other").mkdir()
    self_signed(tmp_path)[0].rename(tmp_path / "cert.pem")
    self_signed(tmp_path / "other")[1].rename(tmp_path / "other_key.pem")
    (tmp_path / "garbage.pem").write_text("garbage")
    return tmp_path


@pytest.mark.parametrize(
    ("certificate", "key", "reason"),
    [
        ("missing.pem", None, "No such file or directory."),
        ("garbage.pem", None, "The certificate or the key is not there, or not PEM."),
        ("cert.pem", None, "its key in the same file"),  # which has no key
        ("cert.pem", "other_key.pem", "key values mismatch."),
    ],
)
def test_one_that_cannot_be_used_at_the_start(files: Path, certificate: str, key: str | None, reason: str) -> None:
    with pytest.raises(RewakeError) as caught:
        Certificate(files / certificate, None if key is None else files / key)
    assert caught.value.code is ErrorCode.TLS_CERTIFICATE_INVALID
    assert reason in str(caught.value) and "_ssl.c" not in str(caught.value)
