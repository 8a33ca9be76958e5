"""Who is asking: keys are given, the clock is the test's."""

from __future__ import annotations

import hashlib
import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.keys import SCOPES, KeyIssued
from schemas.signing import signature
from services.gateway.auth import WINDOW_MS, Caller, Key, Request, authenticate, check_networks
from services.gateway.errors import ApiError

NOW_MS = 1_790_000_000_000
TOKEN = "hb_1.a-token-of-ana"
RECORD = KeyIssued("hb_1", 7, 70, ("read", "trade"), b"", hashlib.sha256(TOKEN.encode()).digest(), 0, (), "ana's")
KEY = Key(RECORD, b"s" * 32)
OTHER = Key(KeyIssued("hb_2", 8, 80, ("read",), b"", b"", 0, (), "bert's"), b"t" * 32)
ANA = Caller("hb_1", 7, 70, ("read", "trade"))
BODY = b'{"qty":1}'
PATH = "/v1/orders?a=1"


def signed(
    *,
    key: Key = KEY,
    stamp: str = str(NOW_MS),
    method: str = "POST",
    path: str = PATH,
    body: bytes = BODY,
    address: str = "10.1.2.3",
) -> Request:
    headers = {
        "hourbook-key": key.record.key_id,
        "hourbook-timestamp": stamp,
        "hourbook-signature": signature(key.secret, stamp, method, path, body),
    }
    return Request(method, path, body, headers, address)


def bearing(authorization: str, address: str = "10.1.2.3") -> Request:
    return Request("GET", "/v1/account", b"", {"authorization": authorization}, address)


def judged(request: Request, now_ms: int = NOW_MS, *keys: Key) -> Caller | str:
    """The caller, or the code of the refusal."""
    known = {key.record.key_id: key for key in keys or (KEY, OTHER)}
    try:
        return authenticate(known, request, now_ms)
    except ApiError as error:
        return error.code


def with_record(**changes: object) -> Key:
    fields = {name: getattr(RECORD, name) for name in RECORD.__struct_fields__}
    return Key(KeyIssued(**(fields | changes)), KEY.secret)


def test_the_signature_is_what_the_documentation_says() -> None:
    """hex HMAC-SHA256(secret, timestamp + METHOD + path with query + body): computed here without our own function."""
    text = b'1790000000000POST/v1/orders?a=1{"qty":1}'
    assert (
        signature(KEY.secret, "1790000000000", "POST", PATH, BODY)
        == hmac.new(b"s" * 32, text, hashlib.sha256).hexdigest()
    )


def test_a_signed_request_is_the_callers() -> None:
    assert judged(signed()) == ANA


@pytest.mark.parametrize(
    "tampered",
    [
        {"method": "PUT"},
        {"path": "/v1/orders?a=2"},
        {"path": "/v1/orders"},
        {"path": "/v1/withdrawals?a=1"},
        {"body": b'{"qty":2}'},
        {"body": b""},
        {"body": BODY + b" "},
    ],
    ids=str,
)
def test_a_signature_fits_no_other_request(tampered: dict[str, object]) -> None:
    """Each part is signed: another method, path, query or body is somebody else's idea."""
    assert judged(signed()._replace(**tampered)) == "wrong_signature"


@pytest.mark.parametrize("name", ["hourbook-timestamp", "hourbook-signature", "hourbook-key"])
def test_a_signature_fits_no_other_headers(name: str) -> None:
    """The timestamp is signed, and a key's signature is not another key's."""
    other = {"hourbook-timestamp": str(NOW_MS + 1), "hourbook-signature": "0" * 64, "hourbook-key": "hb_2"}
    request = signed()
    assert judged(request._replace(headers={**request.headers, name: other[name]})) == "wrong_signature"


@given(st.integers(0, 63), st.sampled_from("0123456789abcdef"))
def test_one_changed_digit_of_the_signature_is_enough(place: int, digit: str) -> None:
    request = signed()
    signature = request.headers["hourbook-signature"]
    changed = signature[:place] + digit + signature[place + 1 :]
    expected = ANA if changed == signature else "wrong_signature"
    assert judged(request._replace(headers={**request.headers, "hourbook-signature": changed})) == expected


@pytest.mark.parametrize(
    ("off_ms", "expected"),
    [(-WINDOW_MS - 1, "wrong_timestamp"), (-WINDOW_MS, ANA), (WINDOW_MS, ANA), (WINDOW_MS + 1, "wrong_timestamp")],
)
def test_a_signature_holds_for_thirty_seconds_either_way(off_ms: int, expected: object) -> None:
    assert judged(signed(stamp=str(NOW_MS + off_ms))) == expected


@pytest.mark.parametrize(
    "stamp",
    [
        "",
        "now",
        "-1790000000000",
        "1790000000000.0",
        "1790000000",
        "١٧٩٠٠٠٠٠٠٠٠٠٠",
        "1790000000000" + "0" * 4,
        "0" * 4 + "1790000000000",
    ],
)
def test_a_timestamp_is_milliseconds_and_nothing_else(stamp: str) -> None:
    """Seconds, signs, other scripts' digits, or so many that a part of them would have to be ignored."""
    assert judged(signed(stamp=stamp)) == "wrong_timestamp"


@pytest.mark.parametrize("missing", ["hourbook-timestamp", "hourbook-signature"])
def test_a_signed_request_needs_all_three_headers(missing: str) -> None:
    request = signed()
    left = {name: value for name, value in request.headers.items() if name != missing}
    assert judged(request._replace(headers=left)) == missing.replace("hourbook-", "wrong_")


def test_a_signature_that_is_no_text_is_wrong_and_no_fault() -> None:
    request = signed()
    assert judged(request._replace(headers={**request.headers, "hourbook-signature": "é" * 64})) == "wrong_signature"


@pytest.mark.parametrize(
    ("authorization", "expected"),
    [
        (f"Bearer {TOKEN}", ANA),
        (f"bearer {TOKEN}", ANA),
        (f"Bearer  {TOKEN} ", ANA),
        (f"Bearer {TOKEN}x", "unauthenticated"),
        (f"Bearer {TOKEN[:-1]}", "unauthenticated"),
        ("Bearer hb_1", "unauthenticated"),
        ("Bearer hb_9.a-token-of-ana", "unauthenticated"),
        ("Bearer ", "unauthenticated"),
        ("Bearer hb_2.", "unauthenticated"),
        ("Bearer é", "unauthenticated"),
        (f"Basic {TOKEN}", "unauthenticated"),
        ("", "unauthenticated"),
    ],
)
def test_a_bearer_token_is_compared_by_its_hash(authorization: str, expected: object) -> None:
    """A key without a bearer token (hb_2) is not opened by an empty one."""
    assert judged(bearing(authorization)) == expected


def test_the_stored_hash_does_not_open_the_door() -> None:
    """Whoever reads the log of keys has hashes, and a hash is no token."""
    assert judged(bearing(f"Bearer {RECORD.bearer_hash.hex()}")) == "unauthenticated"


def test_a_key_expires_to_the_millisecond() -> None:
    key = with_record(expires_ms=NOW_MS + 1)
    assert judged(signed(), NOW_MS, key) == ANA
    assert judged(signed(), NOW_MS + 1, key) == "key_expired"
    assert judged(bearing(f"Bearer {TOKEN}"), NOW_MS + 1, key) == "key_expired"


@pytest.mark.parametrize(
    ("networks", "address", "expected"),
    [
        (("10.0.0.0/8",), "10.1.2.3", ANA),
        (("10.0.0.0/8",), "11.1.2.3", "wrong_network"),
        (("192.168.0.0/16", "10.1.2.3/32"), "10.1.2.3", ANA),
        (("2001:db8::/32",), "2001:db8::1", ANA),
        (("2001:db8::/32",), "10.1.2.3", "wrong_network"),
        (("0.0.0.0/0",), "", "wrong_network"),
        (("0.0.0.0/0",), "a-socket", "wrong_network"),
        ((), "", ANA),
    ],
)
def test_a_key_may_be_bound_to_networks(networks: tuple[str, ...], address: str, expected: object) -> None:
    """An address that cannot be told is in no network."""
    assert judged(signed(address=address), NOW_MS, with_record(networks=networks)) == expected


def test_a_wrong_key_learns_nothing_about_expiry_or_network() -> None:
    """Whoever cannot sign is told that, whatever else is wrong with the key."""
    key = with_record(expires_ms=1, networks=("192.168.0.0/16",))
    assert judged(signed(key=key._replace(secret=b"x" * 32)), NOW_MS, key) == "wrong_signature"


@pytest.mark.parametrize("scope", SCOPES)
def test_a_caller_may_what_his_scopes_say(scope: str) -> None:
    ANA._replace(scopes=(scope,)).require(scope)
    for other in set(SCOPES) - {scope}:
        with pytest.raises(ApiError, match=f"this needs scope {other}, the key has {scope}") as refused:
            ANA._replace(scopes=(scope,)).require(other)
        assert refused.value.code == "missing_scope"


@pytest.mark.parametrize("network", ["10.0.0.1/8", "localhost", "10.0.0.0/33", "", "10.0.0.0/8,11.0.0.0/8"])
def test_networks_are_written_in_cidr_notation(network: str) -> None:
    check_networks(("10.0.0.0/8", "2001:db8::/32", "127.0.0.1"))
    with pytest.raises(ApiError) as refused:
        check_networks((network,))
    assert refused.value.code == "malformed"
