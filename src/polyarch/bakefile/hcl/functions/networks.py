"""Functions of address ranges. Source: behaviour of hashicorp/go-cty-funcs, `cidr`."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network

from polyarch.bakefile.hcl.functions.ints import as_int
from polyarch.bakefile.hcl.functions.spec import (
    ArgumentError,
    Function,
    FunctionError,
    Parameter,
    function,
)
from polyarch.bakefile.hcl.types import NUMBER, STRING
from polyarch.bakefile.hcl.values import Value, list_value, string

__all__ = ["NETWORKS"]

_MOST_BITS = 32
_Network = IPv4Network | IPv6Network


def _network(value: Value) -> _Network:
    try:
        if "/" not in value.raw:
            raise ValueError
        return ip_network(value.raw, strict=False)
    except ValueError:
        raise FunctionError(f"invalid CIDR expression: invalid CIDR address: {value.raw}") from None


def _address(network: _Network, number: int) -> str:
    kind = IPv4Address if network.version == 4 else IPv6Address
    return str(kind(number))


def _host(prefix: Value, number: Value) -> Value:
    host = as_int(number)
    network = _network(prefix)
    size = network.num_addresses
    index = host if host >= 0 else size + host
    # As the library counts: a negative number stands for one from the end.
    if not 0 <= index < size:
        raise FunctionError(
            f"prefix of {network.prefixlen} does not accommodate a host numbered {host}"
        )
    return string(_address(network, int(network.network_address) + index))


def _netmask(prefix: Value) -> Value:
    return string(str(_network(prefix).netmask))


def _subnet(prefix: Value, bits: Value, number: Value) -> Value:
    new_bits, index = as_int(bits), as_int(number)
    network = _network(prefix)
    if new_bits > _MOST_BITS:
        raise FunctionError("may not extend prefix by more than 32 bits")
    length = network.prefixlen + new_bits
    if not network.prefixlen <= length <= network.max_prefixlen:
        raise FunctionError(
            f"insufficient address space to extend prefix of {network.prefixlen} by {new_bits}"
        )
    if index >= 1 << new_bits or index < 0:
        raise FunctionError(
            f"prefix extension of {new_bits} does not accommodate a subnet numbered {index}"
        )
    start = int(network.network_address) + (index << (network.max_prefixlen - length))
    return string(f"{_address(network, start)}/{length}")


def _subnets(prefix: Value, *bits: Value) -> Value:
    try:
        network = _network(prefix)
    except FunctionError as error:
        raise ArgumentError(0, str(error)) from None
    protocol = "IPv4" if network.version == 4 else "IPv6"
    end = int(network.broadcast_address) + 1
    current = int(network.network_address)
    last = str(network)
    found: list[Value] = []
    for position, value in enumerate(bits, 1):
        extra = as_int(value)
        if extra < 1:
            raise ArgumentError(position, "must extend prefix by at least one bit")
        if extra > _MOST_BITS:
            raise ArgumentError(position, "may not extend prefix by more than 32 bits")
        length = network.prefixlen + extra
        if length > network.max_prefixlen:
            raise ArgumentError(
                position,
                f"would extend prefix to {length} bits, which is too long for an {protocol} address",
            )
        size = 1 << (network.max_prefixlen - length)
        start = -(-current // size) * size
        if start + size > end:
            raise ArgumentError(
                position,
                f"not enough remaining address space for a subnet with a prefix of {length} bits after {last}",
            )
        current = start + size
        last = f"{_address(network, start)}/{length}"
        found.append(string(last))
    return list_value(found, STRING)


_PREFIX = Parameter("prefix", STRING)

NETWORKS: Mapping[str, Function] = {
    "cidrhost": function(_host, _PREFIX, Parameter("hostnum", NUMBER)),
    "cidrnetmask": function(_netmask, _PREFIX),
    "cidrsubnet": function(_subnet, _PREFIX, Parameter("newbits", NUMBER), Parameter("netnum", NUMBER)),
    "cidrsubnets": function(_subnets, _PREFIX, rest=Parameter("newbits", NUMBER)),
}  # fmt: skip
