// Package probe talks SQL to PostgreSQL servers: it connects, asks the one
// question that an observation consists of, and makes password verifiers.
//
// Every name in its statements is qualified with pg_catalog, and search_path is
// fixed, so that objects in other schemas cannot change what they mean. It
// decides nothing.
package probe
