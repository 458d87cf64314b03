//! What a pod's row says, in the order in which Kubernetes decides it.

use jiff::Timestamp;
use serde_json::Value;

use super::age::since;
use super::value::{list, number, or_none, text};

/// How often containers were restarted, and when last.
#[derive(Default)]
struct Restarts {
    count: i64,
    last: String,
}

impl Restarts {
    fn add(&mut self, container: &Value) {
        self.count += number(container, "/restartCount");
        let at = text(container, "/lastState/terminated/finishedAt");
        // Times of one form compare as text.
        if at > self.last.as_str() {
            at.clone_into(&mut self.last);
        }
    }

    fn shown(&self, now: Timestamp) -> String {
        match (self.count, self.last.as_str()) {
            (0, _) | (_, "") => self.count.to_string(),
            (count, last) => format!("{count} ({} ago)", since(last, now)),
        }
    }
}

fn has_condition(pod: &Value, kind: &str) -> bool {
    list(pod, "/status/conditions")
        .any(|condition| text(condition, "/type") == kind && text(condition, "/status") == "True")
}

fn is(object: &Value, field: &str) -> bool {
    object.get(field) == Some(&Value::Bool(true))
}

/// Why a container ended, where it does not say.
fn ended(terminated: &Value) -> String {
    match (text(terminated, "/reason"), number(terminated, "/signal")) {
        ("", 0) => format!("ExitCode:{}", number(terminated, "/exitCode")),
        ("", signal) => format!("Signal:{signal}"),
        (reason, _) => reason.to_owned(),
    }
}

/// The first that keeps the pod from its containers, if any; counts those that are ready beside them.
fn initializing(
    pod: &Value,
    ready: &mut usize,
    sidecars: &mut Restarts,
    all: &mut Restarts,
) -> Option<String> {
    let restarts_always = |name: &str| {
        let mut containers = list(pod, "/spec/initContainers");
        containers.any(|one| text(one, "/name") == name && text(one, "/restartPolicy") == "Always")
    };
    for (index, container) in list(pod, "/status/initContainerStatuses").enumerate() {
        all.add(container);
        let is_sidecar = restarts_always(text(container, "/name"));
        if is_sidecar {
            sidecars.add(container);
        }
        let terminated = container.pointer("/state/terminated").filter(|state| state.is_object());
        if terminated.is_some_and(|state| number(state, "/exitCode") == 0) {
            continue;
        }
        if is_sidecar && is(container, "started") {
            *ready += usize::from(is(container, "ready"));
            continue;
        }
        return Some(match (terminated, text(container, "/state/waiting/reason")) {
            (Some(terminated), _) => format!("Init:{}", ended(terminated)),
            (None, "" | "PodInitializing") => {
                format!("Init:{index}/{}", list(pod, "/spec/initContainers").count())
            }
            (None, reason) => format!("Init:{reason}"),
        });
    }
    None
}

/// The cells behind the name.
pub(super) fn pod(pod: &Value, age: Value, now: Timestamp) -> Vec<Value> {
    let phase = text(pod, "/status/phase");
    let mut reason = match text(pod, "/status/reason") {
        "" => phase.to_owned(),
        reason => reason.to_owned(),
    };
    let is_gated = list(pod, "/status/conditions").any(|condition| {
        text(condition, "/type") == "PodScheduled" && text(condition, "/reason") == "SchedulingGated"
    });
    if is_gated {
        "SchedulingGated".clone_into(&mut reason);
    }
    let sidecars = list(pod, "/spec/initContainers").filter(|one| text(one, "/restartPolicy") == "Always");
    let total = list(pod, "/spec/containers").count() + sidecars.count();
    let (mut ready, mut restarts, mut of_init) = (0, Restarts::default(), Restarts::default());
    let initializing = initializing(pod, &mut ready, &mut restarts, &mut of_init);
    if initializing.is_none() || has_condition(pod, "Initialized") {
        let mut is_running = false;
        for container in list(pod, "/status/containerStatuses").rev() {
            restarts.add(container);
            let terminated = container.pointer("/state/terminated").filter(|state| state.is_object());
            match (text(container, "/state/waiting/reason"), terminated) {
                ("", Some(terminated)) => reason = ended(terminated),
                ("", None) => {
                    let runs = is(container, "ready")
                        && container.pointer("/state/running").is_some_and(Value::is_object);
                    is_running |= runs;
                    ready += usize::from(runs);
                }
                (waiting, _) => waiting.clone_into(&mut reason),
            }
        }
        if reason == "Completed" && is_running {
            let word = if has_condition(pod, "Ready") { "Running" } else { "NotReady" };
            word.clone_into(&mut reason);
        }
    } else {
        restarts = of_init;
        reason = initializing.unwrap_or(reason);
    }
    if pod.pointer("/metadata/deletionTimestamp").is_some_and(|at| !at.is_null()) {
        if text(pod, "/status/reason") == "NodeLost" {
            "Unknown".clone_into(&mut reason);
        } else if !matches!(phase, "Failed" | "Succeeded") {
            "Terminating".clone_into(&mut reason);
        }
    }
    let gates = list(pod, "/spec/readinessGates").map(|gate| text(gate, "/conditionType"));
    let gates: Vec<bool> = gates.map(|kind| has_condition(pod, kind)).collect();
    let gates = match gates.len() {
        0 => "<none>".to_owned(),
        count => format!("{}/{count}", gates.iter().filter(|is| **is).count()),
    };
    vec![
        format!("{ready}/{total}").into(),
        reason.into(),
        restarts.shown(now).into(),
        age,
        or_none(text(pod, "/status/podIPs/0/ip")),
        or_none(text(pod, "/spec/nodeName")),
        or_none(text(pod, "/status/nominatedNodeName")),
        gates.into(),
    ]
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn shown(spec: &Value, status: &Value) -> String {
        let now = "2026-01-02T01:00:00Z".parse().unwrap();
        let cells = pod(&json!({"metadata": {}, "spec": spec, "status": status}), "1h".into(), now);
        cells[..3].iter().map(|cell| cell.as_str().unwrap()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn a_pods_status_is_its_containers_before_its_phase() {
        let two = json!({"containers": [{"name": "a"}, {"name": "b"}]});
        let running = json!({"startedAt": "2026-01-02T00:00:00Z"});
        let cases = [
            (json!({"phase": "Pending"}), "0/2 Pending 0"),
            (
                json!({"phase": "Running", "containerStatuses": [
                    {"name": "a", "ready": true, "restartCount": 0, "state": {"running": running}},
                    {"name": "b", "ready": false, "restartCount": 3,
                     "state": {"waiting": {"reason": "CrashLoopBackOff"}},
                     "lastState": {"terminated": {"exitCode": 1, "finishedAt": "2026-01-02T00:55:00Z"}}}]}),
                "1/2 CrashLoopBackOff 3 (5m ago)",
            ),
            (
                json!({"phase": "Failed", "containerStatuses": [
                    {"name": "a", "restartCount": 0, "state": {"terminated": {"exitCode": 3}}}]}),
                "0/2 ExitCode:3 0",
            ),
            (
                json!({"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}], "containerStatuses": [
                    {"name": "a", "restartCount": 0, "state": {"terminated": {"exitCode": 0, "reason": "Completed"}}},
                    {"name": "b", "ready": true, "restartCount": 0, "state": {"running": running}}]}),
                "1/2 Running 0",
            ),
            (json!({"phase": "Failed", "reason": "Evicted"}), "0/2 Evicted 0"),
        ];
        for (status, expected) in cases {
            assert_eq!(shown(&two, &status), expected);
        }
        let init = json!({"initContainers": [{"name": "i"}, {"name": "s", "restartPolicy": "Always"}],
                          "containers": [{"name": "a"}]});
        let waiting = json!({"phase": "Pending", "initContainerStatuses": [
            {"name": "i", "restartCount": 1, "state": {"running": running}}]});
        assert_eq!(shown(&init, &waiting), "0/2 Init:0/2 1");
    }
}
