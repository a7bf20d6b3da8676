"""Links and handles: what stands for raters and pictures in a browser, made from one secret key.

A link carries 192 bits, a handle 144. Both are keyed digests, so nothing has to be stored to know them again, none can
be guessed from others, and an item or picture has another handle for every rater and side.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import secrets
from collections.abc import Iterable
from pathlib import Path

from bench.errors import MissingError, UsageError
from bench.store.atomic import write_error
from bench.study.lines import KEY

KEY_BYTES = 32
_TOKEN_BYTES, _HANDLE_BYTES = 24, 18


def write_key(folder: Path) -> None:
    """Make the study's secret key, which only its owner may read. A key that is there is kept."""
    try:
        descriptor = os.open(folder / KEY, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return
    except OSError as error:
        raise write_error(folder / KEY, error) from None
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(f"{secrets.token_hex(KEY_BYTES)}\n")
        file.flush()
        os.fsync(file.fileno())


class Keys:
    """Everything that is derived from a study's key."""

    def __init__(self, key: bytes, raters: Iterable[str]) -> None:
        self._key = key
        self._raters = {hashlib.sha256(self.token(rater).encode()).digest(): rater for rater in raters}

    @classmethod
    def of(cls, folder: Path, raters: Iterable[str]) -> Keys:
        """Read the key of a study's folder. MissingError: there is none; UsageError: it is damaged."""
        try:
            key = bytes.fromhex((folder / KEY).read_text(encoding="ascii").strip())
        except OSError as error:
            raise MissingError(
                f"{folder / KEY} cannot be read ({error.strerror}): links and exports need the key that "
                "`bench study make` wrote there"
            ) from None
        except ValueError:
            key = b""
        if len(key) < KEY_BYTES:
            raise UsageError(f"{folder / KEY} is damaged: put back the file that `bench study make` wrote")
        return cls(key, raters)

    def _digest(self, *parts: str, size: int) -> str:
        text = "\0".join(parts).encode()
        digest = hmac.new(self._key, text, hashlib.sha256).digest()[:size]
        return base64.urlsafe_b64encode(digest).decode().rstrip("=")

    def token(self, rater: str) -> str:
        """The secret part of a rater's link, 32 characters."""
        return self._digest("rater", rater, size=_TOKEN_BYTES)

    def admin(self) -> str:
        """The secret part of the link to the progress page."""
        return self._digest("admin", size=_TOKEN_BYTES)

    def csrf(self, rater: str) -> str:
        """What a page must send back with every answer."""
        return self._digest("csrf", rater, size=_TOKEN_BYTES)

    def completion(self, rater: str) -> str:
        """The code that a rater is shown at the end, for a crowdsourcing platform: 10 letters and digits."""
        digest = hmac.new(self._key, b"completion\0" + rater.encode(), hashlib.sha256).digest()
        return base64.b32encode(digest).decode()[:10]

    def item(self, rater: str, item: str) -> str:
        """The handle of an item for a rater."""
        return self._digest("item", rater, item, size=_HANDLE_BYTES)

    def picture(self, rater: str, item: str, side: str) -> str:
        """The handle of a picture for a rater; `side` is left or right."""
        return self._digest("picture", rater, item, side, size=_HANDLE_BYTES)

    def imported(self, source: str, name: str) -> str:
        """What stands for a rater of another place: x and 12 hexadecimal digits that only the key's owner can tell."""
        text = _bytes(f"pseudonym\0{source}\0{name}")
        return f"x{hmac.new(self._key, text, hashlib.sha256).hexdigest()[:12]}"

    def rater(self, token: str) -> str | None:
        """Whose link this is, None for nobody's. Looked up by digest and compared in constant time."""
        rater = self._raters.get(hashlib.sha256(_bytes(token)).digest())
        return rater if rater is not None and same(token, self.token(rater)) else None

    def is_admin(self, token: str) -> bool:
        """Whether this is the progress page's secret."""
        return same(token, self.admin())


def same(a: str, b: str) -> bool:
    """Whether two secrets are equal, in a time that does not tell where they differ."""
    return hmac.compare_digest(_bytes(a), _bytes(b))


def _bytes(text: str) -> bytes:
    """UTF-8, also of halves of characters, which files and command lines of others may hold."""
    return text.encode("utf-8", "surrogatepass")
