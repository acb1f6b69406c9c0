package main

import (
	"fmt"
	"strings"

	"github.com/twinspace/twinspace/cmd/liqoctl/internal/explanation"
)

func capitalized(text string) string {
	if text == "" {
		return ""
	}
	return strings.ToUpper(text[:1]) + text[1:]
}

// policyLine says what the namespace says about its pods.
func policyLine(e *explanation.Explanation) string {
	p := e.Policy
	if p.Unknown != "" {
		return fmt.Sprintf("Namespace %s: its policy is not known: %s.", e.Namespace, p.Unknown)
	}
	if !p.Offloaded {
		return fmt.Sprintf("Namespace %s is not offloaded.", e.Namespace)
	}
	phase := p.Phase
	if phase == "" {
		phase = "not processed yet"
	}
	return fmt.Sprintf("Namespace %s: strategy %s; clusters: %s; spread: %s; eviction: %s; phase: %s.",
		e.Namespace, p.Strategy, p.Selector, p.Spread, p.Eviction, phase)
}

// nodeNames names one virtual node, or ordinary ones, of which text shows the first few.
func nodeNames(v explanation.Verdict, all bool) string {
	switch n := len(v.Nodes); {
	case n == 0 && v.Virtual:
		return "all virtual nodes"
	case n == 0:
		return "all ordinary nodes"
	case n == 1:
		return v.Nodes[0]
	case all || n <= nodesShown:
		return strings.Join(v.Nodes, ", ")
	default:
		return fmt.Sprintf("%s and %d more", strings.Join(v.Nodes[:nodesShown], ", "), n-nodesShown)
	}
}
