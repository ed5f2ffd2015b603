// Package e2e tests a real cloud from outside: it drives the built binary, through
// its command line and its API, and looks at what the machine then holds. Nobody
// imports it. Its tests have the build tag e2e and need root; `make e2e` runs them.
//
// Most tests share one cloud, which the first of them starts and the end of the
// run removes, also after a failure or a signal; what a killed run left is removed
// by the next. Tests that need a machine without it, or break it on purpose, make
// their own. No test waits for time to pass: it waits for a condition, with a
// limit, and says what it saw last.
//
// Pods run the program in probe, built by the tests.
package e2e
