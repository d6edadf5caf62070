// Package explain turns the journals of a cluster's members and entrypoints into
// the story of a change of its primary, and of one that did not come about.
//
// How data passes:
//
//	Gather (client) → Evidence → Tell (pure) → Story → text, JSON, HTML
//
// Evidence is what was collected: per source its records, how far its clock is
// off and how sure that is, and why a source is missing; the history of timelines.
// Tell is a pure function of it, so that every story can be told again from saved
// evidence, and tests need no cluster. Every statement of a Story names its
// evidence (source and record number); what nobody saw is said to be unknown.
//
// Reading: tell.go is the table of contents of a story; changes.go finds the
// changes of the primary, loss.go how the old one was lost, takeover.go and data.go
// the rest. clock.go and cause.go place records in time, events.go puts them in
// order and says where that is not proven. whynot.go answers --why-not. What could
// have led, and why not, is judged by package ha, never here.
//
// What it may not do: change anything in the cluster, trust a record's text more
// than its fields, or put two events in an order that their clocks do not prove
// without saying so.
package explain
