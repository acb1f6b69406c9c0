package nemesis

// StageNamespace is the home namespace that faults happen to: its pods all run on providers, and nobody but faults
// does anything there.
const StageNamespace = "stage"
