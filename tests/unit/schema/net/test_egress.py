from ipaddress import IPv4Address, IPv6Address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fakesweep.schema.net.egress import Networks, admits, admits_bucket
from fakesweep.schema.settings import Settings


def networks(*written: str) -> Networks:
    return tuple(ip_network(network) for network in written)


@pytest.mark.parametrize(
    "address",
    [
        "1.1.1.1", "93.184.215.14", "100.63.255.255", "100.128.0.0", "172.15.255.255",
        "172.32.0.0", "192.0.1.0", "198.17.255.255", "198.20.0.0", "223.255.255.255",
        "2606:4700::1111", "2a00:1450:4001::200e", "2001:4860:4860::8888", "2600::",
        "::ffff:1.1.1.1", "64:ff9b::1.1.1.1",
    ],
)  # fmt: skip
def test_a_public_address_is_admitted(address: str) -> None:
    assert admits(address, ())


@pytest.mark.parametrize(
    "address",
    [
        "0.0.0.0", "0.1.2.3", "10.0.0.1", "100.64.0.1", "100.127.255.255", "127.0.0.1",
        "127.255.255.254", "169.254.0.1", "172.16.0.1", "172.31.255.255", "192.0.0.1",
        "192.0.2.1", "192.88.99.1", "192.168.1.1", "198.18.0.1", "198.19.255.255",
        "198.51.100.1", "203.0.113.1", "224.0.0.1", "239.255.255.255", "240.0.0.1",
        "255.255.255.255", "::", "::1", "::1%1", "100::1", "fc00::1", "fd12:3456::1", "fe80::1",
        "fe80::1%eth0", "fec0::1", "ff02::1", "ff0e::1", "2001:db8::1", "2001:10::1",
        "3fff::1", "4000::1", "5f00::1",
    ],
)  # fmt: skip
def test_an_address_that_is_not_public_is_refused(address: str) -> None:
    assert not admits(address, ())


@pytest.mark.parametrize(
    "address",
    [
        "::127.0.0.1", "::ffff:127.0.0.1", "::ffff:a9fe:a9fe", "::ffff:10.0.0.1%eth0",
        "::ffff:0:127.0.0.1", "64:ff9b::10.0.0.1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::1.1.1.1",
        "2002:7f00:1::", "2002:a00:1::1", "2002:101:101::", "2001:0:7f00:1::",
        "2001:0:4136:e378:8000:63bf:3fff:fdd2",
    ],
)  # fmt: skip
def test_a_private_address_gains_nothing_by_being_wrapped(address: str) -> None:
    assert not admits(address, ())


@pytest.mark.parametrize(
    "address",
    [
        "169.254.169.254", "169.254.170.2", "169.254.170.23", "168.63.129.16", "100.100.100.200",
        "192.0.0.192", "fd00:ec2::254", "fd00:ec2::23", "fd20:ce::254", "fe80::a9fe:a9fe",
        "::ffff:169.254.169.254", "64:ff9b::169.254.169.254",
    ],
)  # fmt: skip
def test_metadata_is_reached_only_where_its_very_address_is_allowed(address: str) -> None:
    wide = networks("0.0.0.0/0", "::/0", "169.254.0.0/16", "fd00::/8", "168.63.129.16/31")
    assert not admits(address, ())
    assert not admits(address, wide)
    plain = address.rpartition(":")[2] if "." in address else address
    assert admits(address, networks(plain))


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("10.2.3.4", "10.2.0.0/16"),
        ("127.0.0.1", "127.0.0.1"),
        ("::ffff:10.2.3.4", "10.2.0.0/16"),
        ("64:ff9b::10.2.3.4", "10.2.0.0/16"),
        ("64:ff9b::10.2.3.4", "64:ff9b::/96"),
        ("fd12::1", "fd12::/16"),
        ("fe80::1%eth0", "fe80::/64"),
        ("2002:a00:1::1", "2002::/16"),
    ],
)
def test_an_allowed_network_is_reached_and_its_neighbour_is_not(address: str, network: str) -> None:
    assert admits(address, networks("192.168.7.0/24", network))
    assert not admits("10.3.0.1", networks("192.168.7.0/24", network))


@given(st.integers(0, 2**32 - 1).map(IPv4Address))
def test_of_ipv4_only_what_python_too_calls_global_is_admitted(address: IPv4Address) -> None:
    if admits(str(address), ()):
        assert address.is_global
        assert not address.is_multicast
    assert admits(f"::ffff:{address}", ()) == admits(str(address), ())
    assert not admits(f"2002:{int(address) >> 16:x}:{int(address) & 0xFFFF:x}::1", ())


@given(st.integers(0, 2**128 - 1).map(IPv6Address), st.integers(0, 128))
def test_of_ipv6_only_what_python_too_calls_global_is_admitted(
    address: IPv6Address, zeros: int
) -> None:
    small = IPv6Address(int(address) >> zeros)
    for found in (address, small):
        if admits(str(found), ()):
            assert found.is_global or found in ip_network("64:ff9b::/96") or found.ipv4_mapped
            assert not found.is_multicast


def test_every_bucket_is_admitted_until_some_are_named() -> None:
    assert admits_bucket("any", Settings())
    named = Settings(buckets=("photos", "uploads"))
    assert [admits_bucket(bucket, named) for bucket in ("photos", "uploads", "photo", "")] == [
        True, True, False, False,
    ]  # fmt: skip
