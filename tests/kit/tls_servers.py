"""Servers of the kit that also use TLS."""

import os
import shutil
from pathlib import Path

from tests.kit.certificates import Certificate
from tests.kit.servers import Broker, Postgres, RabbitMQ, free_port


class TlsPostgres(Postgres):
    """Starts without TLS; `use_tls` changes it while the server runs."""

    def use_tls(self, certificate: Certificate, client_ca: Path | None = None) -> None:
        """Present this certificate; with `client_ca`, require one of the client that it signed."""
        settings = {"ssl_cert_file": certificate.file, "ssl_key_file": certificate.key, "ssl_ca_file": client_ca}
        for name, file in settings.items():
            self.on().execute(f"ALTER SYSTEM SET {name} = '{self._copied(file) if file else ''}'")
        self.on().execute("ALTER SYSTEM SET ssl = on")
        self._admit("hostssl all all 127.0.0.1/32 scram-sha-256" + (" clientcert=verify-ca" if client_ca else ""))

    def without_tls(self) -> None:
        self.on().execute("ALTER SYSTEM SET ssl = off")
        self._admit("host all all 127.0.0.1/32 scram-sha-256")

    def _admit(self, rule: str) -> None:
        """The tests themselves come to the database `postgres` without TLS."""
        own = f"host {self.database} all 127.0.0.1/32 scram-sha-256\n"
        (self.folder / "data" / "pg_hba.conf").write_text(f"{own}{rule}\n")
        self.on().execute("SELECT pg_reload_conf()")

    def _copied(self, file: Path) -> str:
        """The name of a copy in the folder and in the possession of the server."""
        data = self.folder / "data"
        copy = Path(shutil.copy(file, data / file.name))
        os.chown(copy, data.stat().st_uid, data.stat().st_gid)
        copy.chmod(0o600)
        return file.name


class TlsRabbitMQ(RabbitMQ):
    """Has TLS ports, which require a client certificate, beside those of every server of the kit."""

    def __init__(self, folder: Path, certificate: Certificate, ca: Path) -> None:
        super().__init__(folder)
        self.tls_port, self.tls_management_port = free_port(), free_port()
        (folder / "data" / "conf.d").mkdir(parents=True)
        names = {"cacertfile": ca, "certfile": certificate.file, "keyfile": certificate.key}
        files = {name: shutil.copy(file, folder / "data" / file.name) for name, file in names.items()}
        (folder / "data" / "conf.d" / "tls.conf").write_text(
            f"listeners.ssl.default = 127.0.0.1:{self.tls_port}\n"
            f"management.ssl.ip = 127.0.0.1\nmanagement.ssl.port = {self.tls_management_port}\n"
            + "".join(f"ssl_options.{name} = {file}\nmanagement.ssl.{name} = {file}\n" for name, file in files.items())
            + "ssl_options.verify = verify_peer\nssl_options.fail_if_no_peer_cert = true\n"
        )

    def over_tls(self) -> Broker:
        return Broker(self.host, self.tls_port, self.tls_management_port, self.user, self.password, "/")
