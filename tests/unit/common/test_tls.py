"""What an error of TLS advises."""

import pytest

from common.tls import POSTGRES, RABBITMQ, explained, remedy


@pytest.mark.parametrize(
    ("error", "advice"),
    [
        (
            "certificate verify failed: Hostname mismatch, certificate is not valid",
            "RABBITMQ_HOST must be a name",
        ),
        ("certificate verify failed: IP address mismatch, certificate is not valid", "RABBITMQ_HOST must be a name"),
        ("certificate verify failed: certificate has expired", "renew the server's certificate"),
        ("certificate verify failed: self-signed certificate", "RABBITMQ_CA_FILE must contain the CA"),
        ("certificate verify failed: unable to get local issuer certificate", "RABBITMQ_CA_FILE must contain the CA"),
        ("[SSL] tlsv13 alert certificate required", "set RABBITMQ_CERT_FILE and RABBITMQ_KEY_FILE"),
        ("tlsv1 alert unknown ca", "the server refuses the client certificate: RABBITMQ_CERT_FILE"),
        ("sslv3 alert certificate expired", "the server refuses the client certificate: RABBITMQ_CERT_FILE"),
        ("[SSL: WRONG_VERSION_NUMBER] wrong version number", "check RABBITMQ_PORT and RABBITMQ_TLS"),
        ("IncompatibleProtocolError: StreamLostError", "check RABBITMQ_TLS, RABBITMQ_CERT_FILE and RABBITMQ_KEY_FILE"),
    ],
)
def test_an_error_of_openssl_names_the_setting(error: str, advice: str):
    assert advice in remedy(error, RABBITMQ)


@pytest.mark.parametrize(
    ("error", "advice"),
    [
        ('server certificate for "x" does not match host name "y"', "POSTGRES_HOST must be a name"),
        ("SSL error: certificate verify failed", "POSTGRES_SSLROOTCERT must contain the CA"),
        ('root certificate file "/a" does not exist', "POSTGRES_SSLROOTCERT must be a readable file"),
        ('certificate present, but not private key file "/a"', "POSTGRES_SSLKEY must be the key of POSTGRES_SSLCERT"),
        ('private key file "/a" has group or world access', "POSTGRES_SSLKEY must be the key of POSTGRES_SSLCERT"),
        ('could not open certificate file "/a": No such file', "POSTGRES_SSLCERT must be a readable PEM file"),
        ('could not read certificate file "/a": no start line', "POSTGRES_SSLCERT must be a readable PEM file"),
        ("FATAL:  connection requires a valid client certificate", "set POSTGRES_SSLCERT and POSTGRES_SSLKEY"),
        ("SSL SYSCALL error: EOF detected", "check POSTGRES_SSLMODE, POSTGRES_SSLCERT and POSTGRES_SSLKEY"),
        ("server does not support SSL, but SSL was required", "check POSTGRES_PORT and POSTGRES_SSLMODE"),
        ('no pg_hba.conf entry for host "a", no encryption', "the server may require TLS: set POSTGRES_SSLMODE"),
    ],
)
def test_an_error_of_postgresql_names_the_setting(error: str, advice: str):
    assert advice in remedy(error, POSTGRES)


def test_other_errors_are_left_as_they_are():
    error = "connection to server failed: Connection refused"
    assert explained(error, POSTGRES) == error
    assert explained("certificate has expired", POSTGRES).startswith("certificate has expired (renew ")
