"""Which URLs may be called, and which addresses."""

import pytest

from shared.callbacks import CallbackUrl, is_public, literal_address, parse_callback
from shared.errors import CallbackRefusedError, InvalidParameterError


def test_a_url_is_taken_apart() -> None:
    assert parse_callback("https://Example.com:8443/a/b?c=d&e", allow_private=False) == CallbackUrl(
        is_secure=True,
        host="example.com",
        port=8443,
        authority="Example.com:8443",
        target="/a/b?c=d&e",
    )


@pytest.mark.parametrize(
    ("url", "port", "target"),
    [
        ("https://example.com", 443, "/"),
        ("https://example.com?x", 443, "/?x"),
        ("http://example.com/", 80, "/"),
        ("https://[2606:4700::1111]/", 443, "/"),
        ("https://8.8.8.8/", 443, "/"),
        ("https://xn--mnchen-3ya.example/", 443, "/"),
    ],
)
def test_what_a_url_leaves_out_has_its_default(url: str, port: int, target: str) -> None:
    parts = parse_callback(url, allow_private=True)

    assert (parts.port, parts.target) == (port, target)


@pytest.mark.parametrize(
    "url",
    [
        "example.com/hook",
        "//example.com/hook",
        "ftp://example.com/",
        "file:///etc/passwd",
        "https:///hook",
        "https://",
        "https://example.com:0/",
        "https://example.com:99999/",
        "https://example.com:port/",
        "https://example.com/#fragment",
        "https://example.com/a b",
        "https://example.com/\r\nX: y",
        "https://exa\tmple.com/",
        "https://münchen.example/",
        "https://a..example/",
        "https://-%2e/",
        "https://[fe80::1%25eth0]/",
        "https://[::1/",
        "https://[v1.example]/",
        "https://10.0.0.1\\@example.com/",
        "https://example.com/" + "x" * 2048,
    ],
)
def test_what_is_no_sound_url_is_refused(url: str) -> None:
    with pytest.raises(InvalidParameterError):
        parse_callback(url, allow_private=True)


def test_a_url_with_a_password_is_refused_and_not_repeated() -> None:
    with pytest.raises(CallbackRefusedError, match="password") as caught:
        parse_callback("https://me:secret@example.com/", allow_private=True)

    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "127.1",
        "2130706433",
        "0x7f.1",
        "0177.0.0.1",
        "0",
        "10.1.2.3",
        "169.254.169.254",
        "[::1]",
        "[::ffff:10.0.0.1]",
        "[fd00::1]",
        "localhost",
        "LOCALHOST.",
        "api.localhost",
    ],
)
def test_a_private_host_is_refused_unless_it_is_allowed(host: str) -> None:
    with pytest.raises(CallbackRefusedError, match="private"):
        parse_callback(f"https://{host}/", allow_private=False)

    assert parse_callback(f"https://{host}/", allow_private=True)


def test_tls_is_required_unless_private_addresses_are_allowed() -> None:
    with pytest.raises(CallbackRefusedError, match="not https"):
        parse_callback("http://example.com/", allow_private=False)

    assert not parse_callback("http://example.com/", allow_private=True).is_secure


@pytest.mark.parametrize(
    "address",
    [
        "0.0.0.0",
        "0.1.2.3",
        "10.0.0.1",
        "100.64.0.1",
        "127.0.0.1",
        "169.254.169.254",
        "172.16.0.1",
        "192.0.0.1",
        "192.0.2.1",
        "192.88.99.1",
        "192.168.1.1",
        "198.18.0.1",
        "203.0.113.1",
        "224.0.0.1",
        "239.255.255.250",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::127.0.0.1",
        "::ffff:127.0.0.1",
        "::ffff:169.254.169.254",
        "64:ff9b::127.0.0.1",
        "64:ff9b::a9fe:a9fe",
        "64:ff9b:1::1",
        "100::1",
        "2001::1",
        "2001:db8::1",
        "2002:7f00:1::",
        "2002:a00:1::",
        "fc00::1",
        "fd12::1",
        "fe80::1",
        "fe80::1%eth0",
        "fec0::1",
        "ff02::1",
        "5f00::1",
    ],
)
def test_an_address_that_is_no_single_public_host_is_not_called(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize(
    "address",
    [
        "8.8.8.8",
        "1.1.1.1",
        "172.32.0.1",
        "2606:4700:4700::1111",
        "2a00:1450::1",
        "::ffff:8.8.8.8",
        "64:ff9b::8.8.8.8",
        "2002:808:808::",
    ],
)
def test_a_public_address_may_be_called(address: str) -> None:
    assert is_public(address)


def test_a_name_is_no_address() -> None:
    assert literal_address("example.com") is None
    assert literal_address("1.example") is None
    assert literal_address("127.1") == "127.0.0.1"
