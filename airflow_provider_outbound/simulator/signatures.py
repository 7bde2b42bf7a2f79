"""Checks both kinds of request signatures as the service's gateway does."""

from __future__ import annotations

import base64
import hashlib
import hmac
import itertools
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from urllib.parse import quote

from airflow_provider_outbound.simulator.cloud import Refusal

#: Seconds by which a request's timestamp may differ from real time.
_TOLERANCE = 15 * 60


class Gatekeeper:
    """
    Checks signatures, timestamps and nonces.

    :param access_key_id: the only valid key.
    :param security_token: the only valid token; requests need none.
    """

    def __init__(self, *, access_key_id: str, access_key_secret: str, security_token: str) -> None:
        self._access_key_id = access_key_id
        self._secret = access_key_secret
        self._security_token = security_token
        self._nonces: dict[str, float] = {}

    def check_classic(self, method: str, raw_pairs: Sequence[tuple[str, str]], parameters: Mapping[str, str]) -> None:
        """
        Check a request signed with HMAC-SHA1 in its query.

        :param raw_pairs: query and form parameters, still percent-encoded.
        :param parameters: the same, decoded.
        :raises Refusal: the gateway refuses the request.
        """
        for name in ("AccessKeyId", "Signature", "Timestamp", "SignatureNonce"):
            if not parameters.get(name):
                raise Refusal(400, f"Missing{name}", f"{name} is mandatory for this action.")
        self._check_key(parameters["AccessKeyId"], parameters.get("SecurityToken"))
        self._check_time(parameters["Timestamp"])
        given = parameters["Signature"]
        # Most clients encode almost as the signature requires; 100 KB are encoded again only for the others.
        text = _string_to_sign(method, [(_tidy(key), _tidy(value)) for key, value in raw_pairs])
        if not self._is_signed(text, given):
            text = _string_to_sign(method, [(quote(key, "~"), quote(value, "~")) for key, value in parameters.items()])
            if not self._is_signed(text, given):
                raise Refusal(
                    400,
                    "SignatureDoesNotMatch",
                    f"Specified signature is not matched with our calculation. server string to sign is:{text}",
                )
        self._check_nonce(parameters["SignatureNonce"])

    def check_acs3(self, method: str, parameters: Mapping[str, str], headers: Mapping[str, str], body: bytes) -> None:
        """
        Check a request signed with ACS3-HMAC-SHA256 in its headers.

        :param parameters: the decoded query.
        :param headers: names in lower case.
        :raises Refusal: the gateway refuses the request.
        """
        scheme, _, rest = headers["authorization"].partition(" ")
        fields = dict(part.strip().split("=", 1) for part in rest.split(",") if "=" in part)
        if scheme != "ACS3-HMAC-SHA256" or not {"Credential", "SignedHeaders", "Signature"} <= set(fields):
            raise Refusal(400, "IncompleteSignature", "The request signature does not conform to Aliyun standards.")
        self._check_key(fields["Credential"], headers.get("x-acs-security-token"))
        self._check_time(headers.get("x-acs-date", ""))
        payload = hashlib.sha256(body).hexdigest()
        if headers.get("x-acs-content-sha256", payload) != payload:
            raise Refusal(400, "SignatureDoesNotMatch", "The body does not match x-acs-content-sha256: it was changed.")
        names = fields["SignedHeaders"].split(";")
        canonical = "\n".join(
            (
                method,
                "/",
                "&".join(f"{quote(key, '~')}={quote(value, '~')}" for key, value in sorted(parameters.items())),
                "".join(f"{name}:{headers.get(name, '').strip()}\n" for name in names),
                fields["SignedHeaders"],
                payload,
            )
        )
        text = f"{scheme}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
        expected = hmac.new(self._secret.encode(), text.encode(), hashlib.sha256).hexdigest()
        if not hmac.compare_digest(expected, fields["Signature"]):
            raise Refusal(
                400,
                "SignatureDoesNotMatch",
                f"Specified signature does not match our calculation. server string to sign is:{text}",
            )
        self._check_nonce(headers.get("x-acs-signature-nonce", ""))

    def _check_key(self, access_key_id: str, security_token: str | None) -> None:
        if access_key_id != self._access_key_id:
            raise Refusal(404, "InvalidAccessKeyId.NotFound", "Specified access key is not found.")
        if security_token and security_token != self._security_token:
            raise Refusal(400, "InvalidSecurityToken.Malformed", "The specified SecurityToken is malformed.")

    def _check_time(self, text: str) -> None:
        try:
            sent = datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC).timestamp()
        except ValueError:
            raise Refusal(400, "InvalidTimeStamp.Format", "Specified time stamp is not well formatted.") from None
        if abs(time.time() - sent) > _TOLERANCE:
            raise Refusal(400, "InvalidTimeStamp.Expired", "Specified time stamp or date value is expired.")

    def _check_nonce(self, nonce: str) -> None:
        if not nonce:
            raise Refusal(400, "MissingSignatureNonce", "SignatureNonce is mandatory for this action.")
        if nonce in self._nonces:
            raise Refusal(400, "SignatureNonceUsed", "Specified signature nonce was used already.")
        now = time.monotonic()
        self._nonces[nonce] = now
        # The oldest come first, so that removing outdated ones is cheap.
        for old in list(itertools.islice(self._nonces, 2)):
            if now - self._nonces[old] > 2 * _TOLERANCE:
                del self._nonces[old]

    def _is_signed(self, text: str, given: str) -> bool:
        digest = hmac.new(f"{self._secret}&".encode(), text.encode(), hashlib.sha1).digest()
        return hmac.compare_digest(base64.b64encode(digest).decode(), given.strip())


def _tidy(encoded: str) -> str:
    return encoded.replace("+", "%20").replace("*", "%2A").replace("%7E", "~")


def _string_to_sign(method: str, encoded_pairs: list[tuple[str, str]]) -> str:
    pairs = sorted(pair for pair in encoded_pairs if pair[0] != "Signature")
    canonical = "&".join(f"{key}={value}" for key, value in pairs)
    # The second encoding affects only percent signs and separators.
    return f"{method}&%2F&" + canonical.replace("%", "%25").replace("&", "%26").replace("=", "%3D")
