"""The account that REST calls and private connections authenticate as."""

from dataclasses import dataclass

from common.settings import Credentials


@dataclass(slots=True)
class Account:
    """Holds the credentials in use; None without an API key. They are replaced while the process runs."""

    credentials: Credentials | None
