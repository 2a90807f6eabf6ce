"""Signatures: an Ed25519 key pair of a run, and DSSE, the envelope in which software attestations travel.

What is signed is never the bytes alone but their type, lengths and bytes (DSSE's *pre-authentication encoding*), so
that a signature over one kind of document is none over another. The private key is made on first use and lies in the
run's folder with mode 0600, unless the settings name one of a person's own.

What a signature says is: *whoever holds this key wrote this*. The controller signs while it works, so everything that
runs under its account can read the key and sign as it does. Candidates cannot (the sandbox opens no folder of the run
to them). Against somebody who has that account, only what was copied out of its reach helps: a witness.

Not here: what is signed (`heads.py`, `provenance/statement.py`); certificates, expiry, a service that keeps keys.

References:
    DSSE protocol v1.0.2 (github.com/secure-systems-lab/dsse); RFC 8032 (Ed25519).
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from evolvent.disk import write_once
from evolvent.errors import CheckFailed, UnsafeError, UsageError
from evolvent.types import sha256_hex

__all__ = ["PublicKey", "Signer", "envelope", "opened"]

_PEM, _OWNER_ONLY = serialization.Encoding.PEM, 0o077


def _pre_authentication(kind: str, body: bytes) -> bytes:
    name = kind.encode()
    return b"DSSEv1 %d %b %d %b" % (len(name), name, len(body), body)


@dataclass(frozen=True)
class PublicKey:
    """What signatures are checked with.

    Attributes:
        key: the Ed25519 key.
    """

    key: Ed25519PublicKey

    @classmethod
    def parse(cls, pem: bytes, where: str) -> PublicKey:
        """From PEM text. Raises `CheckFailed` when it is no Ed25519 public key."""
        try:
            key = serialization.load_pem_public_key(pem)
        except ValueError as exc:
            raise CheckFailed(f"{where}: is not a public key in PEM form: {exc}") from None
        if not isinstance(key, Ed25519PublicKey):
            raise CheckFailed(f"{where}: expected an Ed25519 key, got {type(key).__name__}")
        return cls(key)

    @classmethod
    def from_text(cls, text: str) -> PublicKey | None:
        """From `text`; ``None`` when it is none."""
        try:
            return cls(Ed25519PublicKey.from_public_bytes(_raw(text)))
        except (binascii.Error, ValueError):
            return None

    @property
    def text(self) -> str:
        """The 32 raw bytes, base64."""
        return base64.b64encode(self.key.public_bytes_raw()).decode()

    @property
    def id(self) -> str:
        """SHA-256 in hex of the raw key."""
        return sha256_hex(self.key.public_bytes_raw())

    def pem(self) -> bytes:
        """As text that other tools read."""
        return self.key.public_bytes(_PEM, serialization.PublicFormat.SubjectPublicKeyInfo)

    def holds(self, kind: str, body: bytes, signature: str) -> bool:
        """Whether `signature` (base64) is this key's over `body` of that kind."""
        try:
            self.key.verify(_raw(signature), _pre_authentication(kind, body))
        except (InvalidSignature, binascii.Error, ValueError):
            return False
        return True


def _raw(text: str) -> bytes:
    """The bytes behind base64 in its one spelling: unused bits of the last sign are 0, so that no change goes unseen.

    Raises:
        binascii.Error: it is something else.
    """
    raw = base64.b64decode(text, validate=True)
    if base64.b64encode(raw).decode() != text:
        raise binascii.Error("unused bits are set")
    return raw


@dataclass(frozen=True)
class Signer:
    """A private key.

    Attributes:
        key: the Ed25519 key.
    """

    key: Ed25519PrivateKey

    @classmethod
    def own(cls, path: Path) -> Signer:
        """The key at `path`, made there at the first call; of several callers one wins.

        Raises:
            UnsafeError: others can read the file.
            UsageError: it holds no usable key.
        """
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            form = serialization.PrivateFormat.PKCS8
            write_once(path, Ed25519PrivateKey.generate().private_bytes(_PEM, form, serialization.NoEncryption()))
        return cls.read(path)

    @classmethod
    def read(cls, path: Path) -> Signer:
        """The key in a PEM file (PKCS 8, not encrypted: nobody is there to type a passphrase).

        Raises:
            UnsafeError: others can read the file.
            UsageError: it is missing, or holds no usable key.
        """
        try:
            if path.stat().st_mode & _OWNER_ONLY:
                raise UnsafeError(f"{path}: others can read this signing key; chmod 600 it, or make a new one")
            key = serialization.load_pem_private_key(path.read_bytes(), password=None)
        except OSError as exc:
            raise UsageError(f"signing key: {path} cannot be read: {exc.strerror}") from None
        except (ValueError, TypeError) as exc:  # TypeError: it is encrypted
            raise UsageError(
                f"signing key: {path}: {exc}; `openssl genpkey -algorithm ed25519 -out FILE` makes one"
            ) from None
        if not isinstance(key, Ed25519PrivateKey):
            raise UsageError(f"signing key: {path}: expected an Ed25519 key, got {type(key).__name__}")
        return cls(key)

    @property
    def public(self) -> PublicKey:
        """The key that checks this one's signatures."""
        return PublicKey(self.key.public_key())

    def sign(self, kind: str, body: bytes) -> str:
        """Signature over `body` of that kind, base64. The same body always gives the same one."""
        return base64.b64encode(self.key.sign(_pre_authentication(kind, body))).decode()


def envelope(signer: Signer, kind: str, body: bytes) -> dict[str, Any]:
    """`body` in a DSSE envelope."""
    signature = {"keyid": signer.public.id, "sig": signer.sign(kind, body)}
    return {"payload": base64.b64encode(body).decode(), "payloadType": kind, "signatures": [signature]}


def opened(wrapped: Mapping[str, Any], kind: str, public: PublicKey, where: str) -> bytes:
    """What a DSSE envelope holds, after its signature was checked.

    Raises:
        CheckFailed: it is no envelope, holds another kind, or none of its signatures is of that key.
    """
    try:
        body = _raw(wrapped["payload"])
        found, signatures = wrapped["payloadType"], [str(row["sig"]) for row in wrapped["signatures"]]
    except (KeyError, TypeError, ValueError) as exc:
        raise CheckFailed(f"{where}: is not a DSSE envelope ({type(exc).__name__})") from None
    if found != kind:
        raise CheckFailed(f"{where}: holds {found!r}, expected {kind!r}")
    if not any(public.holds(kind, body, signature) for signature in signatures):
        raise CheckFailed(f"{where}: is not signed by key {public.id[:16]}")
    return body
