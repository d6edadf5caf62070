// Package layout is the one place that knows what a cluster's keys are called
// and how their values are written: it turns a dcs.Snapshot into a
// cluster.View, and the parts of a view into the texts to store.
//
// It is pure: no store, no clock, no logger. Every store shares it, which is
// what keeps the layout the same everywhere, and the same as Patroni's, so that
// members of both programs can live in one cluster and one can replace the
// other while it runs.
//
// Reading is tolerant, because another program, an older release or a person
// may have written the value: what cannot be understood counts as absent, keeps
// its version (so that it can be replaced by compare-and-set), and is named in
// View.Unreadable. Decode never fails and never panics.
//
// Writing is exact: compact JSON in ASCII with the fields in the reference's
// order. Readers of other programs compare texts, so equal facts must give
// equal texts.
//
// Added keys, ignored by other programs: timelines (the register of claimed
// timeline numbers), handover (where a clean stop left off) and
// initialize_owner (leased: who is bootstrapping). Added member fields:
// matriarch and guarded.
//
// Begin with Decode.
package layout
