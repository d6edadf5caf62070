// Package e2e tests whole clusters of the real program on real PostgreSQL and
// real stores, each member on a host of its own: see package lab. The tests are
// named after the operator's story; they wait for facts.
//
// As root nothing may be skipped; without root only the tests that need no
// hosts of their own run. MATRIARCH_SLOW=1 adds the tests and figures that take
// longer; MATRIARCH_FIGURES names a file for the figures, MATRIARCH_BIN another
// program to test than bin/matriarch.
package e2e
