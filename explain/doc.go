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
// What it may not do: change anything in the cluster, trust a record's text more
// than its fields, or put two events in an order that their clocks do not prove
// without saying so.
package explain
