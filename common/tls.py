"""What to change when TLS fails: OpenSSL, libpq and the servers name the cause, and none of them our settings."""

import re
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TlsNames:
    """The names of a server's settings."""

    switch: str  # whether and how TLS is used
    host: str
    port: str
    ca: str
    certificate: str
    key: str


POSTGRES = TlsNames(
    switch="POSTGRES_SSLMODE",
    host="POSTGRES_HOST",
    port="POSTGRES_PORT",
    ca="POSTGRES_SSLROOTCERT",
    certificate="POSTGRES_SSLCERT",
    key="POSTGRES_SSLKEY",
)
RABBITMQ = TlsNames(
    switch="RABBITMQ_TLS",
    host="RABBITMQ_HOST",
    port="RABBITMQ_PORT",
    ca="RABBITMQ_CA_FILE",
    certificate="RABBITMQ_CERT_FILE",
    key="RABBITMQ_KEY_FILE",
)

_REMEDIES = (
    (
        r"hostname mismatch|ip address mismatch|does not match host name",
        "{host} must be a name in the server's certificate",
    ),
    (r"certificate has expired", "renew the server's certificate, or check the clock of this machine"),
    (
        r"alert certificate required|requires a valid client certificate|alert handshake failure",
        "the server requires a client certificate: set {certificate} and {key}",
    ),
    (
        r"alert (unknown ca|bad certificate|certificate unknown|certificate expired|certificate revoked)",
        "the server refuses the client certificate: {certificate} must be valid and signed by a CA that it trusts",
    ),
    (
        r"IncompatibleProtocolError|SSL SYSCALL error",  # closed without an alert, or before it was read
        "the server may require TLS or a client certificate: check {switch}, {certificate} and {key}",
    ),
    (
        r"root certificate file .* does not exist|could not read root certificate",
        "{ca} must be a readable file with the certificate of the server's CA",
    ),
    (
        r"(could not (open|read|load)|does not exist|no such file).*certificate|certificate file .* does not exist",
        "{certificate} must be a readable PEM file",
    ),
    (
        r"private key file|key values mismatch",
        "{key} must be the key of {certificate}, without a passphrase, readable by this user alone",
    ),
    (
        r"certificate verify failed|self-signed certificate|unable to get (local )?issuer",
        "{ca} must contain the CA that signed the server's certificate, which must not have expired",
    ),
    (
        r"server does not support ssl|wrong version number|record layer failure|unexpected eof|eof occurred",
        "this port does not use TLS: check {port} and {switch}",
    ),
    (r"no encryption|ssl off", "the server may require TLS: set {switch}"),
)


def remedy(error: str, names: TlsNames) -> str:
    """The setting to change for this text of an error, and how; empty when the text is not about TLS."""
    for pattern, text in _REMEDIES:
        if re.search(pattern, error, re.IGNORECASE | re.DOTALL):
            return text.format(
                switch=names.switch,
                host=names.host,
                port=names.port,
                ca=names.ca,
                certificate=names.certificate,
                key=names.key,
            )
    return ""


def explained(error: str, names: TlsNames) -> str:
    """The text of the error with its remedy, if there is one."""
    advice = remedy(error, names)
    return f"{error} ({advice})" if advice else error
