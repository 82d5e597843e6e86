"""There is one spelling of each URL; whatever could be read in two ways is refused."""

from urllib.parse import urlsplit

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pyreqwest.http import Url

from cardtrail.errors import InputError
from cardtrail.platform.target import MAX_URL, checked_url, target_of

PLAIN = (
    "https://issuer.example/",
    "https://issuer.example/notifications/d1/v2/issuers/ISSUER0001/cards",
    "https://issuer.example:8443/a//b;c=d,e/~f/%20?x=1&y=%2F",
    "https://a.b-c.d1.xn--bcher-kva.example/",
    "https://receiver/",
    "https://93.184.215.14/",
    "https://[2606:4700::1111]:65535/x",
    "https://issuer.example/?",
)

ODD_HOSTS = {
    "a number": ("2130706433", "0", "017700000001", "0x7f000001", "0X7F000001", "4294967295", "3232235521"),
    "octal": ("0177.0.0.1", "0177.0.0.01", "127.0.0.01", "010.0.0.1", "00.0.0.0", "0300.0250.0.1"),
    "hexadecimal": ("0x7f.1", "0x7f.0.0.1", "127.0.0.0x1", "0xa9.0xfe.0xa9.0xfe", "0xA9FEA9FE", "foo.0x7f"),
    "parts left out": ("127.1", "127.0.1", "10.1", "169.254.43518", "1.2.3"),
    "too much": ("127.0.0.1.", "127.0.0.1.1", "256.1.1.1", "1.2.3.4.5.6", "127.0.0.1..", "127.0.0.09"),
    "numbers as last label": ("issuer.1", "issuer.0", "issuer.example.9a", "1.2.3.4a.5"),
    "other scripts": ("\uff11\uff12\uff17.0.0.1", "127。0。0。1", "127\uff0e0\uff0e0\uff0e1", "①②⑦.0.0.1", "١٢٧.0.0.1"),
    "letters of other scripts": ("ⓛocalhost", "faß.example", "bücher.example", "LOCALHO\u017fT"),
    "escapes": ("%31%32%37.0.0.1", "127.0.0.1%2f", "%6cocalhost", "127.0.0.1%00", "issuer.example%2eevil.example"),
    "invisible": ("127.0.0\u200b.1", "soft\u00adhyphen.example", "a\u3000b", "local\u2060host"),
    "brackets": ("[127.0.0.1]", "[localhost]", "[]", "[::1", "::1]", "::1", "[[::1]]", "[::1]x", "x[::1]"),
    "zones": ("[fe80::1%eth0]", "[fe80::1%25eth0]", "[::1%lo]", "[fe80::1%1]"),
    "IPv6 in another form": ("[0:0:0:0:0:0:0:1]", "[::0001]", "[::0:1]", "[2606:0000::1]", "[2606:4700:0:0:0:0:0:1]"),
    "IPv4 in IPv6": ("[::127.0.0.1]", "[::ffff:127.0.0.1]", "[64:ff9b::127.0.0.1]", "[::1.2.3]", "[::ffff:7f00:0001]"),
    "dots": ("localhost.", "issuer.example.", ".issuer.example", "issuer..example", ".", ".."),
    "hyphens and others": ("-a.example", "a-.example", "a_b.example", "a!b.example", "*.example", "a,b", "a b"),
    "bad names": ("xn--.example", "xn--a.example", "a." + "b" * 64 + ".example", "a." * 127 + "example"),
    "line breaks": ("127.0.0.1\n", "127.0\t.0.1", "\n127.0.0.1", "issuer.example\r", "a\x00b", "127.0.0.1\x0b"),
    "user and port": ("user@127.0.0.1", "issuer.example@127.0.0.1", "user:word@host", "@127.0.0.1", ":80", ""),
    "slashes": ("issuer.example\\@127.0.0.1", "127.0.0.1\\", "\\127.0.0.1", "/127.0.0.1", "issuer.example\\.a"),
}  # fmt: skip
"""What is odd about a host, and hosts of that kind."""

ODD_URLS = (
    "", "/", "issuer.example", "//issuer.example/", "https:", "https:/issuer.example/", "https:issuer.example/",
    "https:///issuer.example/", "https://", "https://?x", "https://#", "https:\\\\issuer.example/",
    "HTTPS://issuer.example/", "hTTps://issuer.example/", "ftp://issuer.example/", "file:///etc/passwd",
    "file://issuer.example/", "gopher://issuer.example/", "javascript:alert(1)", "data:,x", "unix:/run/x.sock",
    "ws://issuer.example/", "jar:https://issuer.example/", "httpss://issuer.example/", " https://issuer.example/",
    "https://issuer.example/ ", "\thttps://issuer.example/", "https://issuer.example/\n",
    "https://issuer.example/a\r\nx: y", "https://issuer.example/a b", "https://issuer.example/é",
    "https://issuer.example/\x7f", "https://issuer.example/a/../b", "https://issuer.example/a/./b",
    "https://issuer.example/..", "https://issuer.example/%2e%2e/b", "https://issuer.example/a\\b",
    "https://issuer.example/#part", "https://issuer.example/x#", "https://issuer.example/?a'b",
    "https://issuer.example/<a>", "https://issuer.example/{a}", "https://issuer.example/`",
    'https://issuer.example/"', "https://issuer.example:0/", "https://issuer.example:/",
    "https://issuer.example:0443/", "https://issuer.example:65536/", "https://issuer.example:99999999999/",
    "https://issuer.example:+443/", "https://issuer.example:-1/", "https://issuer.example:4 43/",
    "https://issuer.example:443:443/", "https://issuer.example:a/", "https://issuer.example:4e2/", "https://[::1]:0/",
    "https://[2606::1]80/", "https://issuer.example/" + "a" * MAX_URL,
)  # fmt: skip


@pytest.mark.parametrize("url", PLAIN)
def test_a_plain_url_is_called_as_it_is_written(url: str) -> None:
    assert checked_url(url, allow_http=False) == url


@pytest.mark.parametrize(
    ("url", "called"),
    [
        ("https://issuer.example", "https://issuer.example/"),
        ("https://issuer.example?x=1", "https://issuer.example/?x=1"),
        ("https://Issuer.EXAMPLE/Path", "https://issuer.example/Path"),
        ("https://LOCALHOST/", "https://localhost/"),
        ("https://issuer.example:443/", "https://issuer.example/"),
        ("https://[2606:4700::1111]:443", "https://[2606:4700::1111]/"),
    ],
)
def test_what_is_only_written_differently_gets_its_one_spelling(url: str, called: str) -> None:
    assert checked_url(url, allow_http=False) == called
    assert checked_url(called, allow_http=False) == called


@pytest.mark.parametrize("host", [host for hosts in ODD_HOSTS.values() for host in hosts])
def test_an_odd_spelling_of_a_host_is_refused(host: str) -> None:
    for url in (f"https://{host}/", f"https://{host}", f"https://{host}:8443/x"):
        with pytest.raises(InputError, match="url"):
            checked_url(url, allow_http=True)


@pytest.mark.parametrize("url", ODD_URLS)
def test_an_odd_url_is_refused(url: str) -> None:
    with pytest.raises(InputError, match="url"):
        checked_url(url, allow_http=True)


def test_plain_http_is_refused_unless_it_is_allowed() -> None:
    assert checked_url("http://issuer.example:80/x", allow_http=True) == "http://issuer.example/x"
    with pytest.raises(InputError, match="https://"):
        checked_url("http://issuer.example/x", allow_http=False)


def test_a_refusal_does_not_repeat_the_url() -> None:
    for url in ("https://issuer.example/?key=secret#", "https://user:secret@issuer.example/", "http://h/?secret"):
        with pytest.raises(InputError) as refusal:
            checked_url(url, allow_http=False)
        assert "secret" not in str(refusal.value)


def test_a_target_tells_names_and_addresses_apart() -> None:
    named, ipv4, ipv6 = (
        target_of(f"https://{host}/", allow_http=False) for host in ("a.example", "1.1.1.1", "[2606::1]")
    )
    assert (named.host, named.literal) == ("a.example", None)
    assert (ipv4.host, str(ipv4.literal)) == ("1.1.1.1", "1.1.1.1")
    assert (ipv6.host, str(ipv6.literal)) == ("2606::1", "2606::1")


PIECES = st.sampled_from(
    ("https://", "http://", "//", "/", "\\", "@", ":", "#", "?", ".", "..", "[", "]", "%", "%25", "%2e", "127.0.0.1",
     "1", "localhost", "a.example", "::1", "::ffff:7f00:1", "0x7f", "443", "\uff18", "。", "xn--", "-", "\t", "\n", " ")
)  # fmt: skip


@given(st.lists(st.one_of(PIECES, st.text(max_size=3)), max_size=8).map("".join), st.booleans())
@example("https://a.example/", False)  # noqa: FBT003 -- as drawn
def test_a_url_that_is_accepted_is_read_the_same_by_all(url: str, allow_http: bool) -> None:  # noqa: FBT001 -- drawn
    try:
        called = checked_url(url, allow_http=allow_http)
    except InputError:
        return
    split, read = urlsplit(called), Url(called)
    assert str(read) == called
    assert split.hostname == (read.host_str or "").strip("[]") == target_of(called, allow_http).host
    assert (split.username, split.password, split.fragment) == (None, None, "")
    assert split.port == read.port != 0
