package nemesis

// StageNamespace is the home namespace that faults happen to: its pods all run on providers, and nobody but faults
// does anything there.
const StageNamespace = "stage"

// BystanderNamespace is offloaded, and nothing happens to it; what others have in its twins must stay as it is.
const BystanderNamespace = "bystander"

// IsStage says whether a home namespace is the lab's own, and not its users'.
func IsStage(namespace string) bool {
	return namespace == StageNamespace || namespace == BystanderNamespace || namespace == rebornNamespace
}
