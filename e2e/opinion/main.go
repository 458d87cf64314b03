// Opinion judges flows as programs do that nobody of this project wrote: cyclonus' simulation and the evaluation of
// kube-network-policies. It reads snapshots of clusters as JSON and writes what each program makes of each flow.
//
// It knows nothing of what the verdicts should be.
package main

import (
	"encoding/json"
	"fmt"
	"log"
	"os"
)

// Snapshot is a cluster at one moment, and what to judge in it.
type Snapshot struct {
	Objects []json.RawMessage `json:"objects"`
	Flows   []Flow            `json:"flows"`
}

// Flow is the first packet of a connection.
type Flow struct {
	Source      string `json:"source"`
	Destination string `json:"destination"`
	Protocol    string `json:"protocol"`
	Port        int    `json:"port"`
}

// Opinion is what a program makes of a snapshot: a verdict for each flow, or why it has none.
type Opinion struct {
	Allowed []bool `json:"allowed,omitempty"`
	Without string `json:"without,omitempty"`
}

// Judge is a program.
type Judge func(cluster *Cluster, flows []Flow) ([]bool, error)

var judges = map[string]Judge{
	"cyclonus":              cyclonus,
	"kube-network-policies": kubeNetworkPolicies,
}

// ask has a judge look at a snapshot. Some programs panic where they meet what they do not expect.
func ask(judge Judge, snapshot Snapshot) (opinion Opinion) {
	defer func() {
		if failure := recover(); failure != nil {
			opinion = Opinion{Without: fmt.Sprint("it panics: ", failure)}
		}
	}()
	cluster, err := decode(snapshot.Objects)
	if err != nil {
		return Opinion{Without: err.Error()}
	}
	allowed, err := judge(cluster, snapshot.Flows)
	if err != nil {
		return Opinion{Without: err.Error()}
	}
	return Opinion{Allowed: allowed}
}

func main() {
	var snapshots []Snapshot
	if err := json.NewDecoder(os.Stdin).Decode(&snapshots); err != nil {
		log.Fatalf("reading snapshots: %v", err)
	}
	opinions := make(map[string][]Opinion)
	for name, judge := range judges {
		for _, snapshot := range snapshots {
			opinions[name] = append(opinions[name], ask(judge, snapshot))
		}
	}
	if err := json.NewEncoder(os.Stdout).Encode(opinions); err != nil {
		log.Fatalf("writing opinions: %v", err)
	}
}
