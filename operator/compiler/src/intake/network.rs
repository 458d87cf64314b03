//! Addresses and networks.

use std::net::IpAddr;

use ipnet::IpNet;

use super::cursor::{Cursor, Refused, shown};

/// A network without host bits.
pub(super) fn network(cidr: &Cursor<'_>) -> Result<IpNet, Refused> {
    let text = cidr.string()?;
    let Ok(network) = text.parse::<IpNet>() else {
        let remedy = match text.parse::<IpAddr>() {
            Ok(address) => format!("write the prefix length too: `{}`", IpNet::from(address)),
            Err(_) => "write an address, `/` and a prefix length, such as `10.0.0.0/8`".to_owned(),
        };
        return Err(cidr.error(format!("{} is not a CIDR", shown(text)), remedy));
    };
    if let IpAddr::V6(address) = network.addr()
        && let Some(mapped) = address.to_ipv4_mapped()
    {
        return Err(cidr.error(
            format!("{} is an IPv4-mapped IPv6 network, which no packet is from or to", shown(text)),
            format!(
                "write it as an IPv4 network, such as `{mapped}/{}`",
                network.prefix_len().saturating_sub(96)
            ),
        ));
    }
    let masked = network.trunc();
    if masked != network {
        cidr.warn(
            format!("`{network}` has bits set behind its prefix: it is read as `{masked}`"),
            format!("write `{masked}`, or `{}` if the one address is meant", IpNet::from(network.addr())),
        );
    }
    Ok(masked)
}

/// One address of a pod or node. An IPv4-mapped IPv6 address is the IPv4 address that packets carry: Kubernetes reads
/// it so too, and a pod that was left out for it would be judged by no policy.
pub(super) fn address(address: &Cursor<'_>) -> Result<IpAddr, Refused> {
    let text = address.string()?;
    let Ok(parsed) = text.parse::<IpAddr>() else {
        return Err(
            address.error(format!("{} is not an IP address", shown(text)), "write an IPv4 or IPv6 address")
        );
    };
    let canonical = parsed.to_canonical();
    if canonical != parsed {
        address.warn(
            format!("{} is an IPv4-mapped IPv6 address: it is read as `{canonical}`", shown(text)),
            format!("write `{canonical}`"),
        );
    }
    Ok(canonical)
}
