"""Keys and envelopes: what other tools would check, and what must not pass."""

from __future__ import annotations

import base64
import json
import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from evolvent.errors import CheckFailed, UnsafeError, UsageError
from evolvent.witness.signing import PublicKey, Signer, envelope, opened

KIND = "application/vnd.in-toto+json"
# RFC 8032, 7.1, test 1: a secret key and its public key.
SECRET = bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
PUBLIC = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"


@pytest.fixture
def signer() -> Signer:
    return Signer(Ed25519PrivateKey.from_private_bytes(SECRET))


def test_the_key_of_the_rfc(signer: Signer) -> None:
    assert base64.b64decode(signer.public.text).hex() == PUBLIC
    assert PublicKey.from_text(signer.public.text) is not None
    assert PublicKey.from_text("no key") is None
    assert PublicKey.from_text(base64.b64encode(b"short").decode()) is None


def test_what_is_signed_is_the_protocols_own_encoding(signer: Signer) -> None:
    """The example of the DSSE protocol: type ``http://example.com/HelloWorld``, body ``hello world``."""
    kind, body = "http://example.com/HelloWorld", b"hello world"
    encoded = b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    signature = base64.b64decode(signer.sign(kind, body))
    signer.public.key.verify(signature, encoded)  # raises when it is not
    assert signer.sign(kind, body) == signer.sign(kind, body)


@given(body=st.binary(max_size=200), other=st.binary(max_size=200))
def test_an_envelope_opens_with_its_own_key_kind_and_body_only(body: bytes, other: bytes) -> None:
    signer = Signer(Ed25519PrivateKey.from_private_bytes(SECRET))
    wrapped = json.loads(json.dumps(envelope(signer, KIND, body)))
    assert opened(wrapped, KIND, signer.public, "x") == body
    with pytest.raises(CheckFailed, match="is not signed by key"):
        opened(wrapped, KIND, Signer(Ed25519PrivateKey.from_private_bytes(bytes(32))).public, "x")
    with pytest.raises(CheckFailed, match="holds 'application"):
        opened(wrapped, "text/plain", signer.public, "x")
    if other != body:
        with pytest.raises(CheckFailed, match="is not signed by key"):
            opened({**wrapped, "payload": base64.b64encode(other).decode()}, KIND, signer.public, "x")


@pytest.mark.parametrize("wrapped", [{}, {"payload": "?", "payloadType": KIND, "signatures": []}, {"payload": 3}])
def test_what_is_no_envelope_is_refused(signer: Signer, wrapped: dict[str, object]) -> None:
    with pytest.raises(CheckFailed):
        opened(wrapped, KIND, signer.public, "x")


def test_a_key_is_made_once_and_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "new" / "key.pem"
    first = Signer.own(path)
    assert Signer.own(path).public.id == first.public.id
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    pem = first.public.pem()
    assert PublicKey.parse(pem, "x").id == first.public.id
    path.chmod(0o640)
    with pytest.raises(UnsafeError, match="others can read this signing key"):
        Signer.own(path)


def test_keys_that_cannot_be_used_are_explained(tmp_path: Path) -> None:
    def written(data: bytes) -> Path:
        path = tmp_path / "key.pem"
        path.unlink(missing_ok=True)
        path.write_bytes(data)
        path.chmod(0o600)
        return path

    form, pem = serialization.PrivateFormat.PKCS8, serialization.Encoding.PEM
    key = Ed25519PrivateKey.from_private_bytes(SECRET)
    locked = key.private_bytes(pem, form, serialization.BestAvailableEncryption(b"secret"))
    curve = ec.generate_private_key(ec.SECP256R1()).private_bytes(pem, form, serialization.NoEncryption())
    for data, said in ((b"nothing", "openssl genpkey"), (locked, "openssl genpkey"), (curve, "expected an Ed25519")):
        with pytest.raises(UsageError, match=said):
            Signer.read(written(data))
    with pytest.raises(UsageError, match="cannot be read"):
        Signer.read(tmp_path / "none.pem")
    with pytest.raises(CheckFailed, match="is not a public key"):
        PublicKey.parse(b"nothing", "x")
