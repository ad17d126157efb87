"""Keys and certificates: a service's authority, its own certificate, those of its nodes.

    authority (self-signed, signs nothing but what is below)
      |-- the server's certificate, where the operator brings none
      '-- certificate of a node: CN = its id, OU = its pool, 24 h, for its own key

A node makes its key itself; what travels is a signing request, which proves that it has it.  All
keys are on the curve P-256.
"""

import datetime
from ipaddress import ip_address

import msgspec
from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from pointsman_wire.secure.grants import Grant

# Clocks of nodes may be behind by so much, or by that share of a short life.
SKEW_MAX_S = 300
SKEW_SHARE = 10
REQUEST_BYTES_MAX = 4_096
CURVE = ec.SECP256R1.name
_LONG_S = 20 * 365 * 86_400


class Issued(msgspec.Struct, frozen=True):
    """A private key and its certificate, as PEM."""

    key: bytes
    certificate: bytes


class Life(msgspec.Struct, frozen=True):
    """How long a certificate lasts, from `now_s` (wall clock) on."""

    now_s: int
    lasts_s: int


def make_authority(instance: str, now_s: int) -> Issued:
    """Make the authority of a service."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = _name(f"pointsman nodes of {instance}")
    builder = _builder(name, name, key.public_key(), now_s, _LONG_S)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    builder = builder.add_extension(_usage(is_authority=True), critical=True)
    return Issued(_key_pem(key), _pem(builder.sign(key, hashes.SHA256())))


def make_server(
    authority: Issued, hosts: tuple[str, ...], now_s: int, key_pem: bytes | None = None
) -> Issued:
    """Make a certificate for the names under which a server is reached, and its key if needed."""
    key = ec.generate_private_key(ec.SECP256R1()) if key_pem is None else _private(key_pem)
    signer, issuer = _signer(authority)
    builder = _builder(_name(hosts[0]), issuer, key.public_key(), now_s, _LONG_S)
    names = x509.SubjectAlternativeName([_general_name(host) for host in hosts])
    builder = builder.add_extension(names, critical=False)
    builder = builder.add_extension(
        x509.BasicConstraints(ca=False, path_length=None), critical=True
    )
    builder = _for(builder, ExtendedKeyUsageOID.SERVER_AUTH)
    return Issued(_key_pem(key), _pem(builder.sign(signer, hashes.SHA256())))


def make_request(key: bytes | None, name: str) -> tuple[bytes, bytes]:
    """Return a node's key (PEM; the given one, or a new one) and a signing request (DER) for it."""
    private = ec.generate_private_key(ec.SECP256R1()) if key is None else _private(key)
    request = x509.CertificateSigningRequestBuilder().subject_name(_name(name))
    der = request.sign(private, hashes.SHA256()).public_bytes(serialization.Encoding.DER)
    return _key_pem(private), der


def request_key(request: bytes) -> bytes | None:
    """Return the public key (subject public key info) of a request (DER), None for a bad one."""
    found = _read_request(request)
    return None if found is None else _spki(found)


def sign_request(authority: Issued, request: bytes, grant: Grant, life: Life) -> bytes | None:
    """Return the certificate (PEM) of a node; None for a request (DER) that is not sound.

    Of the request nothing counts but its key: name, pool, bounds and life are the authority's.
    """
    found = _read_request(request)
    if found is None:
        return None
    signer, issuer = _signer(authority)
    key = found.public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    subject = _name(grant.name, grant.pool)
    builder = _builder(subject, issuer, key, life.now_s, life.lasts_s)
    if grant.bounds:
        bounds = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(grant.bounds)])
        builder = builder.add_extension(bounds, critical=False)
    builder = builder.add_extension(
        x509.BasicConstraints(ca=False, path_length=None), critical=True
    )
    builder = _for(builder, ExtendedKeyUsageOID.CLIENT_AUTH)
    return _pem(builder.sign(signer, hashes.SHA256()))


def is_pair(issued: Issued) -> bool:
    """Is the certificate one for this very key?  Raises ValueError for what is no PEM of either."""
    shown = x509.load_pem_x509_certificate(issued.certificate).public_key()
    return shown == _private(issued.key).public_key()


def life_of(certificate: bytes) -> tuple[int, int]:
    """Return when a certificate (PEM) begins and ends, in seconds of the wall clock."""
    found = x509.load_pem_x509_certificate(certificate)
    begins, ends = found.not_valid_before_utc, found.not_valid_after_utc
    return int(begins.timestamp()), int(ends.timestamp())


def _read_request(request: bytes) -> x509.CertificateSigningRequest | None:
    if len(request) > REQUEST_BYTES_MAX:
        return None
    try:
        found = x509.load_der_x509_csr(request)
        key = found.public_key()
        is_ours = isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name == CURVE
        is_sound = is_ours and found.is_signature_valid
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return None
    return found if is_sound else None


def _spki(request: x509.CertificateSigningRequest) -> bytes:
    encoding, form = serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    return request.public_key().public_bytes(encoding, form)


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePublicKey,
    now_s: int,
    lasts_s: int,
) -> x509.CertificateBuilder:
    begins = datetime.datetime.fromtimestamp(
        now_s - min(SKEW_MAX_S, lasts_s // SKEW_SHARE), datetime.UTC
    )
    ends = datetime.datetime.fromtimestamp(now_s + lasts_s, datetime.UTC)
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer)
    builder = builder.public_key(key).serial_number(x509.random_serial_number())
    return builder.not_valid_before(begins).not_valid_after(ends)


def _for(builder: x509.CertificateBuilder, use: x509.ObjectIdentifier) -> x509.CertificateBuilder:
    builder = builder.add_extension(_usage(is_authority=False), critical=True)
    return builder.add_extension(x509.ExtendedKeyUsage([use]), critical=False)


def _usage(*, is_authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not is_authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=is_authority,
        crl_sign=is_authority,
        encipher_only=False,
        decipher_only=False,
    )


def _signer(authority: Issued) -> tuple[ec.EllipticCurvePrivateKey, x509.Name]:
    return _private(authority.key), x509.load_pem_x509_certificate(authority.certificate).subject


def _private(key: bytes) -> ec.EllipticCurvePrivateKey:
    found = serialization.load_pem_private_key(key, None)
    assert isinstance(found, ec.EllipticCurvePrivateKey), "ours are all of one kind"
    return found


def _name(common: str, unit: str = "") -> x509.Name:
    parts = [x509.NameAttribute(NameOID.COMMON_NAME, common[:64])]
    if unit:
        parts.append(x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, unit[:64]))
    return x509.Name(parts)


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)
