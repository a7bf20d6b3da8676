"""Why something could not be fetched from the hub, in the user's words, with what to do about it."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from metrics.weights.hub_name import HubName

_NO_SPACE = (errno.ENOSPC, errno.EDQUOT)
_NO_RIGHT = (errno.EACCES, errno.EPERM, errno.EROFS)


def reason_and_advice(error: Exception, name: HubName) -> tuple[str, str]:
    """Two parts of a sentence, "because <reason>: <advice>", for whatever the hub's client raised."""
    chain = _chain(error)
    return (
        _refused(chain, name)
        or _disk(chain)
        or _connection(chain, name)
        or (_short(error), f"run `{name.command()}` on a machine with network access, or give a local path")
    )


def is_connection(error: Exception) -> bool:
    """Whether the hub could not be asked at all."""
    from huggingface_hub import errors

    return any(
        isinstance(one, errors.OfflineModeIsEnabled | ConnectionError | TimeoutError)
        or _unresolved(one)
        or type(one).__name__ in ("ConnectError", "ConnectTimeout")
        for one in _chain(error)
    )


def _chain(error: BaseException) -> list[BaseException]:
    """The error and its causes, at most ten."""
    found: list[BaseException] = []
    following: BaseException | None = error
    while following is not None and len(found) < 10:
        found.append(following)
        following = following.__cause__ or following.__context__
    return found


def _refused(chain: list[BaseException], name: HubName) -> tuple[str, str] | None:
    """The hub answered, and said no."""
    from huggingface_hub import errors

    log_in = "log in with `hf auth login` (or set HF_TOKEN), or give a local path"
    answers: tuple[tuple[type[BaseException], str, str], ...] = (
        (errors.GatedRepoError, f"{name.repo} is gated", f"accept its terms on its page on the hub, then {log_in}"),
        (
            errors.RepositoryNotFoundError,
            f"there is no path of that name here and no public repository {name.repo} on the hub",
            f"check the name, or, if it is private, {log_in}",
        ),
        (
            errors.RevisionNotFoundError,
            f"{name.repo} has no revision '{name.revision or 'main'}'",
            "name a branch, tag or full commit of it after the @",
        ),
        (errors.RemoteEntryNotFoundError, f"{name.repo} has no file '{name.inner}'", "check the name behind the colon"),
        (errors.DisabledRepoError, f"access to {name.repo} was disabled by the hub", "give a local path"),
    )
    for kind, reason, advice in answers:
        if any(isinstance(error, kind) for error in chain):
            return reason, advice
    for error in chain:
        status = getattr(getattr(error, "response", None), "status_code", None)
        if status in (401, 403):
            return f"the hub refused access to {name.repo} (status {status})", log_in
        if isinstance(status, int) and status >= 400:
            return f"the hub answered with status {status}", "run again later; the files that are finished are kept"
        if isinstance(error, errors.FileMetadataError):
            return (
                "the server that answered is not a hub (its answers lack the hub's headers)",
                "check HF_ENDPOINT and the proxy",
            )
    return None


def _disk(chain: list[BaseException]) -> tuple[str, str] | None:
    from huggingface_hub import constants

    codes = {error.errno for error in chain if isinstance(error, OSError)}
    if codes & set(_NO_SPACE):
        return (
            f"the disk of {constants.HF_HUB_CACHE} is full",
            "free some space, or set HF_HOME to a folder on another disk, and run again; finished files are kept",
        )
    if codes & set(_NO_RIGHT):
        return (
            f"{constants.HF_HUB_CACHE} may not be written to",
            "set HF_HOME to a folder that you may write to, and run again",
        )
    return None


def _connection(chain: list[BaseException], name: HubName) -> tuple[str, str] | None:
    from huggingface_hub import constants, errors

    elsewhere = f"run `{name.command()}` on a machine with network access, or give a local path"
    if any(isinstance(error, errors.OfflineModeIsEnabled) for error in chain):
        return "HF_HUB_OFFLINE is set", f"unset it, {elsewhere}"
    names = {type(error).__name__ for error in chain if type(error).__module__.startswith("httpx")}
    if names & {"RemoteProtocolError", "ReadError", "ReadTimeout"} or _cut_short(chain):
        return (
            "the connection broke on the way",
            "run again, the files that are finished are kept and only the rest is fetched",
        )
    if names or any(isinstance(error, ConnectionError | TimeoutError) or _unresolved(error) for error in chain):
        return f"{constants.ENDPOINT} cannot be reached", elsewhere
    return None


def _cut_short(chain: list[BaseException]) -> bool:
    return any("Consistency check failed" in str(error) for error in chain)


def _unresolved(error: BaseException) -> bool:
    import socket

    return isinstance(error, socket.gaierror)


def _short(error: BaseException) -> str:
    """The first line of a message in brackets behind the kind of error."""
    text = next(iter(str(error).strip().splitlines()), "")[:160].rstrip(". ")
    return f"of {type(error).__name__} ({text})" if text else f"of {type(error).__name__}"
