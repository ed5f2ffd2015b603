// Package polder is the root of the house and holds no code. ARCHITECTURE.md is
// the map of its rooms; house_test.go holds the rules they obey, each with its
// reason. Nobody imports this package.
package polder
