"""Which addresses are one client's."""

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network


def client_of(address: str) -> str:
    """Return what counts as one client; of IPv6 it is the network of 64 bits.

    Args:
        address: that a request comes from; what is no IP address is a client of its own.
    """
    parsed = _parsed(address)
    if isinstance(parsed, IPv6Address) and not parsed.is_loopback:
        return str(ip_network((int(parsed) >> 64 << 64, 64)))
    return str(parsed or address)


def is_this_machine(address: str) -> bool:
    """Say whether a request comes over loopback."""
    parsed = _parsed(address)
    return parsed is not None and parsed.is_loopback


def _parsed(address: str) -> IPv4Address | IPv6Address | None:
    try:
        parsed = ip_address(address)
    except ValueError:
        return None
    mapped = parsed.ipv4_mapped if isinstance(parsed, IPv6Address) else None
    return mapped or parsed
