// Package replica understands what is needed to make one server a copy of
// another: the progress that pg_basebackup prints, where two histories part,
// what transactions lie beyond that point.
//
// It is pure: text and values in, values out; package postgres runs the
// programs.
package replica
