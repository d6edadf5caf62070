// Package compose holds the tests of the containers lab: they run the files of
// deploy/compose, as they are, with a real Docker engine, and do what
// docs/lab.md tells a reader to do.
//
// How data passes: a project of its own per test, on ports that nobody else has,
// is driven with the commands a reader types (docker, compose) and looked at from
// outside: SQL on the published ports, `matriarch list` in a container, the logs.
// Each step says what it saw; MATRIARCH_TRANSCRIPT names a file for that.
package compose
