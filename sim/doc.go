// Package sim runs the program's decisions in a made-up world, in one goroutine
// with virtual time, and looks from outside whether what must always hold does.
package sim
