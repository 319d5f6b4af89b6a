"""A certificate authority of one test, made with openssl."""

import subprocess
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate and its key, both PEM files; the key is readable by its owner alone."""

    file: Path
    key: Path


class Authority:
    """Signs certificates in a folder; `Authority(folder, "ours").ca` is the file to trust."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder = folder
        self._own = self._new_key(name)
        self._openssl(
            "req", "-x509", "-key", self._own.key, "-out", self._own.file, "-days", "2", "-subj", f"/CN=CA {name}"
        )

    @property
    def ca(self) -> Path:
        return self._own.file

    def issue(self, name: str, *, alternative: str = "IP:127.0.0.1", days: int = 1) -> Certificate:
        """A certificate for `name` that is also valid for `alternative`; with `days` below 0 it has expired."""
        made = self._new_key(name)
        request, extensions = made.file.with_suffix(".csr"), made.file.with_suffix(".ext")
        extensions.write_text(f"subjectAltName={alternative}\n")
        self._openssl("req", "-new", "-key", made.key, "-out", request, "-subj", f"/CN={name}")
        signed_by: list[str | Path] = [
            "-CA",
            self._own.file,
            "-CAkey",
            self._own.key,
            "-CAcreateserial",
            "-extfile",
            extensions,
        ]
        self._openssl("x509", "-req", "-in", request, *signed_by, "-out", made.file, "-days", str(days))
        return made

    def _new_key(self, name: str) -> Certificate:
        made = Certificate(self._folder / f"{name}.pem", self._folder / f"{name}.key")
        self._openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", made.key)
        made.key.chmod(0o600)
        return made

    def _openssl(self, *arguments: str | Path) -> None:
        done = subprocess.run(["openssl", *arguments], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
