// Package messages is the table of what people are told when something is
// wrong: each situation, the message as it is printed, what to do about it, and
// the test that makes it happen. docs/errors.md is written from it, and the
// tests compare what was really said with it, so that neither can go stale.
//
// It is used by tests only; the words themselves stand in the code that says
// them.
package messages
