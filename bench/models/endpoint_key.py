"""The API key of an endpoint, and to whom it is sent: to the host of the suite's own address alone."""

from __future__ import annotations

import ipaddress
import os
from urllib.parse import urlsplit

from bench.errors import MissingError
from bench.runtime.log import ONCE, get_logger
from bench.suite.served import EndpointSpec

logger = get_logger(__name__)


def key_for(spec: EndpointSpec, address: str) -> str | None:
    """The key that goes with requests to an address; None without one, and for other hosts than that of `spec.url`.

    Nor does a key of an https address go to an http one, except on this machine. Other ports of the host get it.
    Raises MissingError where the variable of the key is not set, or holds what no key is.
    """
    if spec.api_key_env is None:
        return None
    if not _is_for(spec.url, address):
        logger.warning(
            f"the API key in {spec.api_key_env} is that of {spec.url} and is not sent to {address}", extra=ONCE
        )
        return None
    key = os.environ.get(spec.api_key_env, "").strip()
    if not key:
        raise MissingError(f"the API key of {address} is not set: export {spec.api_key_env}=...")
    if not key.isascii() or not key.isprintable():
        raise MissingError(f"the API key in {spec.api_key_env} has characters that no key has: set it again")
    parts = urlsplit(address)
    if parts.scheme == "http" and not _is_local(parts.hostname or ""):
        logger.warning(f"the API key in {spec.api_key_env} is sent without encryption to {address}", extra=ONCE)
    return key


def _is_for(url: str, address: str) -> bool:
    """Whether an address is of the same host as the suite's, and no less encrypted."""
    ours, theirs = urlsplit(url), urlsplit(address)
    ours_host, theirs_host = ours.hostname or "", theirs.hostname or ""
    if _is_local(ours_host) and _is_local(theirs_host):
        return True
    return ours_host == theirs_host and (theirs.scheme == "https" or ours.scheme == "http")


def _is_local(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
