"""The model hub of Hugging Face, where it may be out of reach: one try of five seconds, then the copies from before."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Thread
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

SECONDS = 5
"""How long an answer is waited for."""


@contextmanager
def one_try(*, asked: bool = True) -> Iterator[None]:
    """If the hub does not answer, let the libraries of Hugging Face use only what was downloaded before.

    By themselves they ask six times, for half a minute, a file.

    Args:
        asked: Whether what is done within asks the hub at all; otherwise nothing is tried.

    Raises:
        ConnectionError: It does not answer, and what is asked for was not downloaded before.

    Examples:
        >>> with one_try():
        ...     pass
    """
    from huggingface_hub import constants

    if not asked or constants.HF_HUB_OFFLINE or _answers(constants.ENDPOINT):
        yield
        return
    constants.HF_HUB_OFFLINE = True
    _forget_connections()
    try:
        yield
    except Exception as error:
        if not _wanted_the_hub(error):
            raise
        host = urlsplit(constants.ENDPOINT).hostname
        raise ConnectionError(f"{host} does not answer, and there is no copy from an earlier download") from error
    finally:
        constants.HF_HUB_OFFLINE = False
        _forget_connections()


def _answers(endpoint: str) -> bool:
    """Whether somebody answers at an address; behind a proxy nobody can tell but the proxy."""
    address = urlsplit(endpoint)
    host, port = address.hostname or "", address.port or {"http": 80}.get(address.scheme, 443)
    if address.scheme in getproxies() and not proxy_bypass(host):
        return True
    found: list[bool] = []

    def ask() -> None:
        try:
            socket.create_connection((host, port), timeout=SECONDS).close()
        except OSError:
            return
        found.append(True)

    # looking up a name has no limit of its own, so somebody else waits for it
    asking = Thread(target=ask, daemon=True)
    asking.start()
    asking.join(SECONDS)
    return bool(found)


def _forget_connections() -> None:
    """Before version 1 of huggingface_hub connections that are open do not notice that there is no network any more."""
    from huggingface_hub import utils

    if forget := getattr(utils, "reset_sessions", None):
        forget()


def _wanted_the_hub(error: BaseException | None) -> bool:
    from huggingface_hub.errors import LocalEntryNotFoundError

    while error is not None:
        if isinstance(error, LocalEntryNotFoundError | ConnectionError):
            return True
        error = error.__cause__ or error.__context__
    return False
