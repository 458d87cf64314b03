//! Fields of one API written into another, or where they stood once: each finding says where they belong.

use super::{anp, banp, cnp, np, remedy};

const SUBJECT: &str = "subject: {namespaces: {}}";

fn v1alpha1(rest: &str) -> super::Decoded {
    anp(&format!("priority: 1\n{SUBJECT}\n{rest}"))
}

fn baseline(rest: &str) -> super::Decoded {
    banp(&format!("{SUBJECT}\n{rest}"))
}

fn v1alpha2(rest: &str) -> super::Decoded {
    cnp(&format!("tier: Admin\npriority: 1\n{SUBJECT}\n{rest}"))
}

fn network_policy(rest: &str) -> super::Decoded {
    np(&format!("podSelector: {{}}\n{rest}"))
}

type Decode = fn(&str) -> super::Decoded;

/// Each text is a whole `spec` but for what the decoder adds; the field is the one at fault.
fn say(cases: &[(Decode, &str, &str, &str)]) {
    for (decode, spec, field, expected) in cases {
        assert_eq!(remedy(&decode(spec), field), *expected, "{spec}");
    }
}

#[test]
fn fields_of_rules() {
    let to = "an egress rule names its peers in `to`";
    let from = "an ingress rule names its peers in `from`";
    let peer = "{nodes: {}}";
    let pods = "{namespaces: {}}";
    for decode in [v1alpha1 as Decode, baseline, v1alpha2] {
        say(&[
            (
                decode,
                &format!("egress: [{{action: Deny, to: [{peer}], from: []}}]"),
                "spec.egress[0].from",
                to,
            ),
            (
                decode,
                &format!("ingress: [{{action: Deny, from: [{pods}], to: []}}]"),
                "spec.ingress[0].to",
                from,
            ),
        ]);
    }
    say(&[
        (
            v1alpha1,
            &format!("egress: [{{action: Deny, to: [{peer}], protocols: []}}]"),
            "spec.egress[0].protocols",
            "v1alpha1 names ports in `ports`",
        ),
        (
            v1alpha2,
            &format!("egress: [{{action: Deny, to: [{peer}], ports: []}}]"),
            "spec.egress[0].ports",
            "a ClusterNetworkPolicy names ports in `protocols`",
        ),
        (network_policy, "egress: [{from: []}]", "spec.egress[0].from", to),
        (network_policy, "ingress: [{to: []}]", "spec.ingress[0].to", from),
        (
            network_policy,
            "ingress: [{protocols: []}]",
            "spec.ingress[0].protocols",
            "a NetworkPolicy names ports in `ports`",
        ),
    ]);
}

#[test]
fn peers_where_the_list_of_them_belongs() {
    let item = "write it as an item of the list `from` (ingress) or `to` (egress)";
    for field in ["podSelector", "namespaceSelector", "ipBlock"] {
        let (ingress, egress) = (format!("spec.ingress[0].{field}"), format!("spec.egress[0].{field}"));
        say(&[
            (network_policy, &format!("ingress: [{{{field}: {{}}}}]"), &ingress, item),
            (network_policy, &format!("egress: [{{{field}: {{}}}}]"), &egress, item),
        ]);
    }
}

#[test]
fn fields_of_subjects_and_peers() {
    let namespaces = "write the selector as `namespaces`";
    let pods = "write `pods` with `namespaceSelector` and `podSelector` in it";
    for subject in ["namespaceSelector", "podSelector"] {
        let expected = if subject == "podSelector" { pods } else { namespaces };
        let field = format!("spec.subject.{subject}");
        say(&[
            (anp, &format!("priority: 1\nsubject: {{{subject}: {{}}}}"), &field, expected),
            (banp, &format!("subject: {{{subject}: {{}}}}"), &field, expected),
            (cnp, &format!("tier: Admin\npriority: 1\nsubject: {{{subject}: {{}}}}"), &field, expected),
        ]);
        for decode in [v1alpha1 as Decode, baseline, v1alpha2] {
            let to = format!("spec.egress[0].to[0].{subject}");
            let from = format!("spec.ingress[0].from[0].{subject}");
            say(&[
                (decode, &format!("egress: [{{action: Deny, to: [{{{subject}: {{}}}}]}}]"), &to, expected),
                (
                    decode,
                    &format!("ingress: [{{action: Deny, from: [{{{subject}: {{}}}}]}}]"),
                    &from,
                    expected,
                ),
            ]);
        }
    }
    for field in ["ipBlock", "networks", "nodes", "domainNames"] {
        for decode in [v1alpha1 as Decode, baseline, v1alpha2] {
            say(&[(
                decode,
                &format!("ingress: [{{action: Deny, from: [{{{field}: []}}]}}]"),
                &format!("spec.ingress[0].from[0].{field}"),
                "only egress rules have such peers: select pods by `namespaces` or `pods`",
            )]);
        }
    }
    say(&[
        (
            v1alpha1,
            "egress: [{action: Deny, to: [{ipBlock: {cidr: 192.0.2.0/24}}]}]",
            "spec.egress[0].to[0].ipBlock",
            "write `networks`, a list of CIDRs",
        ),
        (
            baseline,
            "egress: [{action: Allow, to: [{domainNames: [www.example.com]}]}]",
            "spec.egress[0].to[0].domainNames",
            "a BaselineAdminNetworkPolicy has no names: write them into an AdminNetworkPolicy",
        ),
        // There it is known, and what is said of it is about its value.
        (
            v1alpha1,
            "egress: [{action: Allow, to: [{domainNames: []}]}]",
            "spec.egress[0].to[0].domainNames",
            "list at least one",
        ),
        (
            network_policy,
            "egress: [{to: [{namespaces: {}}]}]",
            "spec.egress[0].to[0].namespaces",
            "write `namespaceSelector`",
        ),
        (network_policy, "egress: [{to: [{pods: {}}]}]", "spec.egress[0].to[0].pods", "write `podSelector`"),
        (
            network_policy,
            "egress: [{to: [{networks: [192.0.2.0/24]}]}]",
            "spec.egress[0].to[0].networks",
            "write `ipBlock` with a `cidr`, a peer of its own for each network",
        ),
    ]);
}

#[test]
fn fields_of_ports() {
    let spec =
        |port: &str| format!("egress: [{{action: Deny, to: [{{namespaces: {{}}}}], protocols: [{port}]}}]");
    for (port, field, expected) in [
        (
            "{portNumber: {port: 80}}",
            "portNumber",
            "write `tcp: {destinationPort: {number: ...}}` or the like",
        ),
        (
            "{portRange: {start: 1, end: 2}}",
            "portRange",
            "write `tcp: {destinationPort: {number: ...}}` or the like",
        ),
        ("{namedPort: web}", "namedPort", "write `destinationNamedPort`"),
        ("{TCP: {}}", "TCP", "write the protocol in lower case"),
        ("{UDP: {}}", "UDP", "write the protocol in lower case"),
        ("{SCTP: {}}", "SCTP", "write the protocol in lower case"),
    ] {
        say(&[(v1alpha2, &spec(port), &format!("spec.egress[0].protocols[0].{field}"), expected)]);
    }
}

/// Where there is no better place to name, the fields that are known are.
#[test]
fn fields_that_belong_nowhere() {
    let known = "remove it or correct its name: known here are ";
    say(&[
        (
            v1alpha1,
            "egress: [{action: Deny, to: [{pod: {}}]}]",
            "spec.egress[0].to[0].pod",
            &format!("{known}`namespaces`, `pods`, `networks`, `nodes`, `domainNames`"),
        ),
        (network_policy, "ingress: [{form: []}]", "spec.ingress[0].form", &format!("{known}`from`, `ports`")),
    ]);
    // A name that would not read as one stands in quotes, in the path, too.
    let decoded = network_policy("ingress: [{\"a b\": []}, {\"\": []}, {\"a`\": []}]");
    let fields = decoded.diagnostics.iter().map(|finding| finding.field.as_str());
    let fields: Vec<_> = fields.filter(|field| field.matches('[').count() == 2).collect();
    assert_eq!(fields, ["spec.ingress[0][\"a b\"]", "spec.ingress[1][\"\"]", "spec.ingress[2][\"a`\"]"]);
}
