package main

import (
	"fmt"

	"github.com/mattfenwick/cyclonus/pkg/matcher"
	core "k8s.io/api/core/v1"
)

// cyclonus knows NetworkPolicies only.
func cyclonus(cluster *Cluster, flows []Flow) ([]bool, error) {
	if len(cluster.Admin)+len(cluster.Baseline)+len(cluster.Others) > 0 {
		return nil, fmt.Errorf("it knows NetworkPolicies only")
	}
	policies := matcher.BuildNetworkPolicies(false, cluster.Network)
	var allowed []bool
	for _, flow := range flows {
		traffic := &matcher.Traffic{
			Source:           cluster.peer(flow.Source),
			Destination:      cluster.peer(flow.Destination),
			ResolvedPort:     flow.Port,
			ResolvedPortName: cluster.portName(flow),
			Protocol:         core.Protocol(flow.Protocol),
		}
		allowed = append(allowed, policies.IsTrafficAllowed(traffic).IsAllowed())
	}
	return allowed, nil
}

// owner is the pod of an address; nil for what is outside, nodes, and pods in the host's network.
func (cluster *Cluster) owner(address string) *core.Pod {
	for _, pod := range cluster.Pods {
		if pod.Spec.HostNetwork {
			continue
		}
		for _, own := range pod.Status.PodIPs {
			if own.IP == address {
				return pod
			}
		}
	}
	return nil
}

func (cluster *Cluster) peer(address string) *matcher.TrafficPeer {
	peer := &matcher.TrafficPeer{IP: address}
	pod := cluster.owner(address)
	if pod == nil {
		return peer
	}
	peer.Internal = &matcher.InternalPeer{Namespace: pod.Namespace, PodLabels: pod.Labels}
	for _, namespace := range cluster.Namespaces {
		if namespace.Name == pod.Namespace {
			peer.Internal.NamespaceLabels = namespace.Labels
		}
	}
	return peer
}

// portName is the name that the destination has for the port.
func (cluster *Cluster) portName(flow Flow) string {
	pod := cluster.owner(flow.Destination)
	if pod == nil {
		return ""
	}
	containers := pod.Spec.Containers
	for _, container := range pod.Spec.InitContainers {
		// A sidecar.
		if container.RestartPolicy != nil && *container.RestartPolicy == core.ContainerRestartPolicyAlways {
			containers = append(containers, container)
		}
	}
	for _, container := range containers {
		for _, port := range container.Ports {
			if int(port.ContainerPort) == flow.Port && string(port.Protocol) == flow.Protocol {
				return port.Name
			}
		}
	}
	return ""
}
