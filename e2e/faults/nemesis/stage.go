package nemesis

// StageNamespace is the home namespace that faults happen to: its pods all run on providers, and nobody but faults
// does anything there.
const StageNamespace = "stage"

// IsStage says whether a home namespace is the lab's own, and not its users'.
func IsStage(namespace string) bool {
	return namespace == StageNamespace || namespace == rebornNamespace
}
