package main

import (
	"bytes"
	"encoding/json"
	"fmt"

	core "k8s.io/api/core/v1"
	networking "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/runtime"
	policy "sigs.k8s.io/network-policy-api/apis/v1alpha1"
)

// Cluster is a snapshot's objects by kind.
type Cluster struct {
	Namespaces []*core.Namespace
	Nodes      []*core.Node
	Pods       []*core.Pod
	Network    []*networking.NetworkPolicy
	Admin      []*policy.AdminNetworkPolicy
	Baseline   []*policy.BaselineAdminNetworkPolicy
	// Others are the kinds that no program here knows.
	Others []string
}

// decode takes objects strictly: a typed program loses what its types lack, and has no opinion worth comparing then.
func decode(objects []json.RawMessage) (*Cluster, error) {
	cluster := &Cluster{}
	for _, raw := range objects {
		var head struct {
			Kind     string
			Metadata struct{ Namespace, Name string }
		}
		if err := json.Unmarshal(raw, &head); err != nil {
			return nil, err
		}
		var err error
		switch head.Kind {
		case "Namespace":
			err = add(&cluster.Namespaces, raw)
		case "Node":
			err = add(&cluster.Nodes, raw)
		case "Pod":
			err = add(&cluster.Pods, raw)
		case "NetworkPolicy":
			if err = add(&cluster.Network, raw); err == nil {
				setDefaults(cluster.Network[len(cluster.Network)-1])
			}
		case "AdminNetworkPolicy":
			if err = add(&cluster.Admin, raw); err == nil {
				setAdminDefaults(cluster.Admin[len(cluster.Admin)-1])
			}
		case "BaselineAdminNetworkPolicy":
			if head.Metadata.Name != "default" {
				return nil, fmt.Errorf("no API server takes a BaselineAdminNetworkPolicy %s", head.Metadata.Name)
			}
			if err = add(&cluster.Baseline, raw); err == nil {
				setBaselineDefaults(cluster.Baseline[len(cluster.Baseline)-1])
			}
		default:
			cluster.Others = append(cluster.Others, head.Kind)
		}
		if err != nil {
			return nil, fmt.Errorf("its types do not take %s %s/%s: %w", head.Kind, head.Metadata.Namespace, head.Metadata.Name, err)
		}
	}
	return cluster, nil
}

func add[T any](to *[]*T, raw json.RawMessage) error {
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.DisallowUnknownFields()
	object := new(T)
	if err := decoder.Decode(object); err != nil {
		return err
	}
	// What is empty is absent once it has been through an API server.
	stored, err := json.Marshal(object)
	if err != nil {
		return err
	}
	object = new(T)
	if err := json.Unmarshal(stored, object); err != nil {
		return err
	}
	*to = append(*to, object)
	return nil
}

// setDefaults fills in what an API server would have filled in before any of the programs saw the policy.
func setDefaults(policy *networking.NetworkPolicy) {
	if len(policy.Spec.PolicyTypes) == 0 {
		policy.Spec.PolicyTypes = []networking.PolicyType{networking.PolicyTypeIngress}
		if len(policy.Spec.Egress) != 0 {
			policy.Spec.PolicyTypes = append(policy.Spec.PolicyTypes, networking.PolicyTypeEgress)
		}
	}
	tcp := core.ProtocolTCP
	ports := func(ports []networking.NetworkPolicyPort) {
		for i := range ports {
			if ports[i].Protocol == nil {
				ports[i].Protocol = &tcp
			}
		}
	}
	for _, rule := range policy.Spec.Ingress {
		ports(rule.Ports)
	}
	for _, rule := range policy.Spec.Egress {
		ports(rule.Ports)
	}
}

func setAdminDefaults(object *policy.AdminNetworkPolicy) {
	for _, rule := range object.Spec.Ingress {
		setPortDefaults(rule.Ports)
	}
	for _, rule := range object.Spec.Egress {
		setPortDefaults(rule.Ports)
	}
}

func setBaselineDefaults(object *policy.BaselineAdminNetworkPolicy) {
	for _, rule := range object.Spec.Ingress {
		setPortDefaults(rule.Ports)
	}
	for _, rule := range object.Spec.Egress {
		setPortDefaults(rule.Ports)
	}
}

func setPortDefaults(ports *[]policy.AdminNetworkPolicyPort) {
	if ports == nil {
		return
	}
	for _, port := range *ports {
		if port.PortNumber != nil && port.PortNumber.Protocol == "" {
			port.PortNumber.Protocol = core.ProtocolTCP
		}
		if port.PortRange != nil && port.PortRange.Protocol == "" {
			port.PortRange.Protocol = core.ProtocolTCP
		}
	}
}

// runtimeObjects is everything that has a generated client.
func (cluster *Cluster) runtimeObjects() (ours, policies []runtime.Object) {
	for _, object := range cluster.Namespaces {
		ours = append(ours, object)
	}
	for _, object := range cluster.Nodes {
		ours = append(ours, object)
	}
	for _, object := range cluster.Pods {
		ours = append(ours, object)
	}
	for _, object := range cluster.Network {
		ours = append(ours, object)
	}
	for _, object := range cluster.Admin {
		policies = append(policies, object)
	}
	for _, object := range cluster.Baseline {
		policies = append(policies, object)
	}
	return ours, policies
}
