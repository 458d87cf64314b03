package main

import (
	"context"
	"fmt"
	"net"
	_ "unsafe" // for linkname

	core "k8s.io/api/core/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes/fake"
	"sigs.k8s.io/kube-network-policies/pkg/networkpolicy"
	policies "sigs.k8s.io/network-policy-api/pkg/client/clientset/versioned/fake"
	policyinformers "sigs.k8s.io/network-policy-api/pkg/client/informers/externalversions"
)

// packet has the shape of the type of that name that evaluatePacket takes.
type packet struct {
	id               uint32
	family           core.IPFamily
	srcIP, dstIP     net.IP
	proto            core.Protocol
	srcPort, dstPort int
	payload          []byte
}

// evaluatePacket is what judges the packets that the kernel hands to kube-network-policies. It is not exported.
//
//go:linkname evaluatePacket sigs.k8s.io/kube-network-policies/pkg/networkpolicy.(*Controller).evaluatePacket
func evaluatePacket(controller *networkpolicy.Controller, ctx context.Context, p packet) bool

// kubeNetworkPolicies knows the kinds of v1alpha1 and NetworkPolicies.
func kubeNetworkPolicies(cluster *Cluster, flows []Flow) ([]bool, error) {
	if len(cluster.Others) > 0 {
		return nil, fmt.Errorf("it does not know %v", cluster.Others)
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	objects, admin := cluster.runtimeObjects()
	client, policyClient := fake.NewClientset(objects...), policies.NewSimpleClientset(admin...)
	factory := informers.NewSharedInformerFactory(client, 0)
	policyFactory := policyinformers.NewSharedInformerFactory(policyClient, 0)
	controller, err := networkpolicy.NewController(
		client,
		factory.Networking().V1().NetworkPolicies(),
		factory.Core().V1().Namespaces(),
		factory.Core().V1().Pods(),
		factory.Core().V1().Nodes(),
		policyClient,
		policyFactory.Policy().V1alpha1().AdminNetworkPolicies(),
		policyFactory.Policy().V1alpha1().BaselineAdminNetworkPolicies(),
		networkpolicy.Config{
			AdminNetworkPolicy:         true,
			BaselineAdminNetworkPolicy: true,
			NodeName:                   "nobody",
			// Without its plugin for the container runtime, which stays unconnected, v0.8.0 follows a null pointer where
			// an address is no pod's.
			NRIdisabled: false,
		},
	)
	if err != nil {
		return nil, err
	}
	factory.Start(ctx.Done())
	policyFactory.Start(ctx.Done())
	factory.WaitForCacheSync(ctx.Done())
	policyFactory.WaitForCacheSync(ctx.Done())
	var allowed []bool
	for _, flow := range flows {
		source, destination := net.ParseIP(flow.Source), net.ParseIP(flow.Destination)
		family := core.IPv4Protocol
		if source.To4() == nil {
			family = core.IPv6Protocol
		}
		allowed = append(allowed, evaluatePacket(controller, ctx, packet{
			family:  family,
			srcIP:   source,
			dstIP:   destination,
			proto:   core.Protocol(flow.Protocol),
			srcPort: 50000,
			dstPort: flow.Port,
		}))
	}
	return allowed, nil
}
