//! Names of API versions, such as `v1beta2`, in their order.

use std::cmp::Reverse;

/// The order in which versions are preferred: stable ones first, then beta, then alpha, the higher before the lower.
pub(crate) fn rank(version: &str) -> (Reverse<u8>, Reverse<u32>, Reverse<u32>) {
    let number = |text: &str| text.parse::<u32>().unwrap_or_default();
    let rest = version.trim_start_matches('v');
    let (level, (major, minor)) = if let Some((major, minor)) = rest.split_once("beta") {
        (1, (major, minor))
    } else if let Some((major, minor)) = rest.split_once("alpha") {
        (0, (major, minor))
    } else {
        (2, (rest, "0"))
    };
    (Reverse(level), Reverse(number(major)), Reverse(number(minor)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stable_versions_come_first() {
        let mut versions = ["v1alpha1", "v1", "v1beta2", "v2", "v1alpha2", "v1beta1"];
        versions.sort_by_key(|version| rank(version));
        assert_eq!(versions, ["v2", "v1", "v1beta2", "v1beta1", "v1alpha2", "v1alpha1"]);
    }
}
