package drill

import (
	"encoding/json"
	"time"
)

// Report is what a drill found, for people and for programs.
type Report struct {
	Scenario Scenario  `json:"scenario"`
	What     string    `json:"what"`
	Cluster  string    `json:"cluster"`
	Reach    string    `json:"reach,omitempty"`
	Began    time.Time `json:"began"`
	Ended    time.Time `json:"ended"`
	// Fault is when the fault was made; zero: it never was.
	Fault time.Time `json:"fault,omitzero"`

	LeaderBefore   string `json:"leader_before"`
	LeaderAfter    string `json:"leader_after,omitempty"`
	TimelineBefore int64  `json:"timeline_before,omitempty"`
	TimelineAfter  int64  `json:"timeline_after,omitempty"`
	Synchronous    bool   `json:"synchronous"`

	Events   []Event   `json:"events"`
	Measured *Measured `json:"measured,omitempty"`
	Verdict  *Verdict  `json:"verdict,omitempty"`
	// Failed is why there is no verdict, empty when there is one.
	Failed string `json:"failed,omitempty"`
	// Interrupted: a person or a program ended the drill early.
	Interrupted bool `json:"interrupted,omitempty"`
	// Left is in what the cluster is not as it was before, with what to do.
	Left []string `json:"not_as_before"`
	// Notes are what else is to be known.
	Notes []string `json:"notes,omitempty"`
	// Story is what happened, as the cluster's journals tell it.
	Story *Story `json:"story,omitempty"`
}

// Story is told by another package, in the forms that reports have.
type Story struct {
	Text string
	JSON json.RawMessage
}

// MarshalJSON writes the form for programs.
func (s Story) MarshalJSON() ([]byte, error) {
	if len(s.JSON) == 0 {
		return json.Marshal(s.Text)
	}
	return s.JSON, nil
}

// Event is something that the drill did or saw.
type Event struct {
	At   Seconds `json:"at_seconds"` // since it began
	Text string  `json:"text"`
}

// Measured are the figures.
type Measured struct {
	Outage Seconds `json:"outage_seconds"`
	// Open: writes had not come back when the writing ended.
	Open bool `json:"outage_open,omitempty"`
	// From and To are the outage's ends, counted from the fault.
	From Seconds `json:"outage_from_seconds"`
	To   Seconds `json:"outage_to_seconds"`
	// Usual is the longest time between two acknowledged writes before the fault.
	Usual   Seconds      `json:"usual_gap_seconds"`
	Clients int          `json:"clients"`
	Writes  Counts       `json:"writes"`
	Errors  []ErrorCount `json:"errors"`
	Check   Check        `json:"check"`

	RTO Seconds `json:"rto_seconds"`
	RPO int     `json:"rpo_rows"`
}

// Seconds is a length of time that programs read as a number of seconds.
type Seconds time.Duration

// MarshalJSON writes a number with milliseconds.
func (s Seconds) MarshalJSON() ([]byte, error) {
	return json.Marshal(float64(time.Duration(s).Milliseconds()) / 1000)
}

func (s Seconds) String() string { return seconds(time.Duration(s)) }
