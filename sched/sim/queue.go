package sim

// Waits is how long pods waited.
type Waits struct{}
